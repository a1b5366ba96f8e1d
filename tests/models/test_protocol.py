import pytest
import torch

from genai_core.image_size import ImageSize
from genai_core.models.protocol import LARGEST_SEED, ImageShape, check_labels, seeded_noise, to_uint8, to_unit

LABELLED = ImageShape(ImageSize.square(8), 1, ("a", "b"))
UNLABELLED = ImageShape(ImageSize.square(8), 1, ())


def test_pixels_survive_the_conversion_to_floats_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_unit(pixels)), pixels)
    assert to_unit(pixels).min() == -1
    assert to_unit(pixels).max() == 1


def test_values_beyond_the_range_are_clipped():
    assert to_uint8(torch.tensor([[[[-7.0, 7.0]]]])).flatten().tolist() == [0, 255]


def test_noise_of_a_seed_does_not_depend_on_its_neighbours():
    together = seeded_noise(torch.tensor([3, 5, 7]), (2, 4, 4))
    assert torch.equal(together[1], seeded_noise(torch.tensor([5]), (2, 4, 4))[0])
    assert not torch.equal(together[0], together[1])
    assert seeded_noise(torch.tensor([], dtype=torch.int64), (2,)).shape == (0, 2)


def test_a_seed_beyond_32_bits_is_refused():
    twins = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*twins)
    for seed in (-1, 2**32, 5 + 2**32):
        with pytest.raises(ValueError, match=rf"from 0 to 2\*\*32 - 1, got {seed}"):
            seeded_noise(torch.tensor([seed]), (2,))
    last, before = seeded_noise(torch.tensor([LARGEST_SEED, LARGEST_SEED - 1]), (8,))
    assert not torch.equal(last, before)


def test_noise_is_standard_normal():
    noise = seeded_noise(torch.arange(2000), (16,))
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02


@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        (None, LABELLED, "the model has classes"),
        (torch.tensor([0, 1]), UNLABELLED, "unconditional"),
        (torch.tensor([0]), LABELLED, "one label per image"),
        (torch.tensor([0, 2]), LABELLED, "labels from 0 to 1, got 0 to 2"),
        (torch.tensor([-1, 1]), LABELLED, "labels from 0 to 1, got -1 to 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, shape, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, shape, 2)


def test_labels_that_fit_are_accepted():
    check_labels(torch.tensor([0, 1]), LABELLED, 2)
    check_labels(None, UNLABELLED, 2)
