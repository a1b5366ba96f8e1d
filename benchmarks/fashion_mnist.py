"""Fashion-MNIST from its usual files, as arrays and as a dataset. Without torch, whose own memory would count."""

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.dataset import SPLITS, Dataset, Split, load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
_SIDE = 28
_STEMS = {"train": "train", "test": "t10k"}


def fashion_mnist_split(data: Path, split: Split) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, 28, 28) and labels (N,) of a split, from data/fashion-mnist."""
    stem = data / "fashion-mnist" / _STEMS[split]
    images = gzip.decompress(Path(f"{stem}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress(Path(f"{stem}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(images, dtype=np.uint8).reshape(-1, _SIDE, _SIDE), np.frombuffer(labels, dtype=np.uint8)


def fashion_mnist_dataset(folder: Path, data: Path, image_size: int) -> Dataset:
    """Padded to image_size, the published separation kept; made in `folder` when it is not there."""
    if not (folder / "dataset.json").is_file():
        writer = DatasetWriter(
            folder, image_size=ImageSize.square(image_size), channels=1, classes=CLASSES, shard_images=10_000
        )
        before = (image_size - _SIDE) // 2
        margin = (before, image_size - _SIDE - before)
        for split in SPLITS:
            images, labels = fashion_mnist_split(data, split)
            writer.add(split, np.pad(images[:, None], ((0, 0), (0, 0), margin, margin)), labels.astype(np.int64))
        writer.finish()
    return load_dataset(folder)
