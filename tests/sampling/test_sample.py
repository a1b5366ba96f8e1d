import numpy as np
import pytest
import torch

from genai_core.sampling.sample import equal_labels, image_seeds, proportional_labels, sample_images
from tests.sampling.tiny import TinyModel


def test_labels_come_in_turn_and_any_run_is_balanced():
    assert equal_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert equal_labels(5, 0) is None


@pytest.mark.parametrize(("total", "classes"), [(7, 3), (100, 10), (251, 10), (3, 5), (1000, 7)])
def test_labels_in_the_proportions_of_equal_classes_come_in_turn(total, classes):
    assert proportional_labels(total, [40] * classes).tolist() == equal_labels(total, classes).tolist()


def test_labels_have_exact_proportions_and_any_run_is_near_them():
    labels = proportional_labels(1000, (900, 70, 0, 30)).numpy()
    assert np.bincount(labels).tolist() == [900, 70, 0, 30]
    for first in range(0, 900, 37):
        counts = np.bincount(labels[first : first + 100], minlength=4)
        assert np.abs(counts - [90, 7, 0, 3]).max() <= 2
    assert np.bincount(proportional_labels(10, (5, 3, 1))).tolist() == [6, 3, 1]  # 5.6, 3.3, 1.1
    assert proportional_labels(5, ()) is None
    with pytest.raises(ValueError, match="at least one of 2 classes"):
        proportional_labels(5, (0, 0))


def test_image_i_has_seed_plus_i():
    assert image_seeds(3, 10).tolist() == [10, 11, 12]
    assert image_seeds(2, 2**32 - 2).tolist() == [2**32 - 2, 2**32 - 1]
    assert image_seeds(1, 2**32 - 1).dtype == torch.int64


@pytest.mark.parametrize("seed", [-1, 2**32 - 4, 2**63 - 2])
def test_seeds_that_would_draw_an_image_twice_are_refused(seed):
    with pytest.raises(ValueError, match="between 0 and"):
        image_seeds(5, seed)


@pytest.mark.parametrize("batch_images", [1, 4, 100])
def test_a_seed_gives_its_image_whatever_the_batch(batch_images):
    labels, seeds = equal_labels(10, 3), image_seeds(10, 7)
    images = sample_images(TinyModel(), labels, seeds, None, batch_images)
    alone = sample_images(TinyModel(), labels[6:7], seeds[6:7], None, 1)
    np.testing.assert_array_equal(images[6], alone[0])
    assert images.shape == (10, 1, 8, 8)
    assert images.dtype == np.uint8


def test_batches_are_no_larger_than_asked_and_progress_ends_with_all():
    model, seen = TinyModel(), []
    sample_images(model, equal_labels(10, 3), image_seeds(10, 0), None, 4, seen.append)
    assert model.batches == [4, 4, 2]
    assert seen == [4, 8, 10]


def test_a_model_without_classes_takes_no_labels():
    images = sample_images(TinyModel(classes=(), channels=3), None, image_seeds(2, 0), None, 10)
    assert images.shape == (2, 3, 8, 8)


def test_labels_and_seeds_must_be_as_many():
    with pytest.raises(ValueError, match="one label per seed, got 3 labels and 2 seeds"):
        sample_images(TinyModel(), equal_labels(3, 3), image_seeds(2, 0), None, 10)
    with pytest.raises(ValueError, match="got none"):
        sample_images(TinyModel(), None, image_seeds(0, 0), None, 10)


def test_a_model_that_draws_another_type_is_named():
    class Floating(TinyModel):
        def sample(self, labels, seeds, sampling):
            return super().sample(labels, seeds, sampling).float()

    with pytest.raises(ValueError, match=r"tiny: sample must return uint8 \(2, 1, 8, 8\), returned torch.float32"):
        sample_images(Floating(), None, image_seeds(2, 0), None, 10)
