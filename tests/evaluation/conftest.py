import numpy as np
import pytest
import torch

from genai_core.config import EvaluationConfig, TrainedExtractorConfig
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.reference import RealImages
from genai_core.image_size import ImageSize

SIZE = 12
CLASSES = ("across", "down")


def stripes(count, seed=0):
    """Noisy images (N, 1, 12, 12) uint8 with a bright line across (label 0) or down (label 1), off the centre."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 80, (count, 1, SIZE, SIZE))
    labels = generator.integers(0, 2, count)
    for image, label, place in zip(images, labels, generator.integers(1, 5, count), strict=True):
        line = (0, place) if label == 0 else (0, slice(None), place)
        image[line] = 255
    return images.astype(np.uint8), labels.astype(np.int64)


def make_dataset(folder, *, labelled=True, train=240, test=80, rare=False):
    """Stripes of both labels; rare: only about a fifth of those with label 1."""
    classes = CLASSES if labelled else ()
    writer = DatasetWriter(folder, image_size=ImageSize.square(SIZE), channels=1, classes=classes, shard_images=1000)
    for split, count, seed in (("train", train, 1), ("test", test, 2)):
        images, labels = stripes(count, seed)
        if rare:
            kept = (labels == 0) | (np.arange(count) % 5 == 0)
            images, labels = images[kept], labels[kept]
        writer.add(split, images, labels if labelled else None)
    writer.finish()
    return load_dataset(folder)


def extractor_config(**changes):
    values = {
        "kind": "classifier",
        "width": 8,
        "feature_dim": 8,
        "total_images": 3000,
        "batch_images": 60,
        "learning_rate": 1e-2,
        "decorrelation": 0.05,
        "seed": 0,
    }
    return TrainedExtractorConfig(**{**values, **changes})


def evaluation_config(**changes):
    values = {
        "total_images": 100,
        "batch_images": 30,
        "seed": 5,
        "is_splits": 2,
        "precision_neighbours": 3,
        "density_neighbours": 5,
        "pairwise_images": 200,
        "fd_inf_points": 5,
        "near_copy_percentile": 1.0,
        "bootstrap_resamples": 40,
        "confidence": 0.95,
    }
    return EvaluationConfig(**{**values, **changes})


def real_images(dataset):
    """Return the metadata of a dataset's images for build_reference."""
    info = dataset.info
    labels = {split: dataset.labels(split) for split in ("train", "test")}
    return RealImages(info.fingerprint, info.classes, info.image_size, info.channels, labels)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def trained(dataset):
    """An extractor trained on the stripes, and its description."""
    return train_extractor(extractor_config(), dataset, torch.device("cpu"), lambda _done, _figures: None)
