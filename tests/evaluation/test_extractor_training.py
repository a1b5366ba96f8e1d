import numpy as np
import pytest
import torch

from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.image_size import ImageSize
from tests.evaluation.conftest import CLASSES, extractor_config, make_dataset, stripes

CPU = torch.device("cpu")


def quiet(_done, _figures):
    pass


def test_it_learns_the_classes(trained):
    assert trained[1].test_accuracy > 0.97
    assert trained[1].outputs == 2


def test_features_are_standardised_on_the_train_split(trained, dataset):
    features = extract_features(trained[0], dataset.images("train"), 50).features.astype(np.float64)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-3)


def test_weights_do_not_depend_on_the_global_random_state(dataset):
    config = extractor_config(total_images=600)
    first, _ = train_extractor(config, dataset, CPU, quiet)
    torch.rand(3)
    state = torch.random.get_rng_state()
    second, _ = train_extractor(config, dataset, CPU, quiet)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert torch.equal(state, torch.random.get_rng_state())


def test_self_supervised_training_learns_rotations(tmp_path):
    dataset = make_dataset(tmp_path, labelled=False)
    extractor, description = train_extractor(extractor_config(kind="self_supervised"), dataset, CPU, quiet)
    # The lines are off the centre, so the four rotations differ.
    assert description.outputs == 4
    assert description.classes == ()
    assert description.test_accuracy > 0.5
    assert distances(extractor, dataset)["noise"] > 3 * distances(extractor, dataset)["test"]


@pytest.mark.parametrize("kind", ["classifier", "self_supervised"])
def test_rectangles_are_learned_and_measured_whole(kind, tmp_path):
    writer = DatasetWriter(tmp_path, image_size=ImageSize(12, 20), channels=1, classes=CLASSES, shard_images=1000)
    for split, count, seed in (("train", 240, 1), ("test", 80, 2)):
        images, labels = stripes(count, seed)
        writer.add(split, np.concatenate([images, images[:, :, :, -8:]], axis=3), labels)
    writer.finish()
    dataset = load_dataset(tmp_path)
    extractor, description = train_extractor(extractor_config(kind=kind), dataset, CPU, quiet)
    assert description.image_size == (12, 20)
    assert description.test_accuracy > (0.9 if kind == "classifier" else 0.4)
    found = distances(extractor, dataset)
    assert found["noise"] > 3 * found["test"]
    with pytest.raises(ValueError, match=r"C, H, W = 1, 12, 20, got uint8 \(2, 1, 20, 12\)"):
        extract_features(extractor, np.zeros((2, 1, 20, 12), np.uint8), 2)


def test_auto_learns_the_classes_where_there_are_two(dataset, tmp_path):
    config = extractor_config(kind="auto", total_images=60)
    assert train_extractor(config, dataset, CPU, quiet)[1].kind == "classifier"
    assert train_extractor(config, make_dataset(tmp_path, labelled=False), CPU, quiet)[1].kind == "self_supervised"


def test_a_few_repeated_images_are_far_from_the_train_split(trained, dataset):
    found = distances(trained[0], dataset)
    assert found["few"] > 3 * found["test"]
    assert found["noise"] > 3 * found["test"]


def test_progress_ends_with_all_images_and_a_loss(dataset):
    seen = []
    config = extractor_config(total_images=1300, batch_images=60)
    train_extractor(config, dataset, CPU, lambda done, figures: seen.append((done, figures["loss"])))
    assert [done for done, _ in seen] == [1200, 1260]


@pytest.mark.parametrize("labelled", [False, True])
def test_the_error_for_fewer_than_two_classes_says_what_to_do(labelled, tmp_path):
    writer = DatasetWriter(
        tmp_path, image_size=ImageSize.square(12), channels=1, classes=("only",) if labelled else (), shard_images=100
    )
    images, labels = stripes(10)
    for split in ("train", "test"):
        writer.add(split, images, labels * 0 if labelled else None)
    writer.finish()
    with pytest.raises(ValueError, match=r"set extractor.kind to auto and selection.metric to fd_auto"):
        train_extractor(extractor_config(), load_dataset(tmp_path), CPU, quiet)


def test_divergence_names_the_learning_rate(dataset, monkeypatch):
    from genai_core.evaluation import extractor_training

    monkeypatch.setattr(extractor_training, "_off_diagonal", lambda embedding: embedding.sum() * float("nan"))
    with pytest.raises(ValueError, match=r"extractor.learning_rate 0.01 is too high"):
        train_extractor(extractor_config(), dataset, CPU, quiet)


def distances(extractor, dataset):
    """Fréchet distances to the train split: of the test split, of noise, and of three repeated training images."""
    train, test = dataset.images("train"), dataset.images("test")
    reference = feature_stats(extract_features(extractor, train, 100).features)
    root = square_root(reference.covariance)
    sets = {
        "test": test,
        "noise": np.random.default_rng(0).integers(0, 256, test.shape, dtype=np.uint8),
        "few": np.repeat(train[:3], 30, axis=0),
    }
    return {
        name: frechet_distance(reference, root, feature_stats(extract_features(extractor, images, 100).features))
        for name, images in sets.items()
    }
