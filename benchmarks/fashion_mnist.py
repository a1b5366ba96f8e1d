"""Fashion-MNIST as arrays, from its usual files."""

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

_STEMS = {"train": "train", "test": "t10k"}


def fashion_mnist_split(
    data: Path, split: Literal["train", "test"]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, 28, 28) and labels (N,) of a split, from data/fashion-mnist."""
    stem = data / "fashion-mnist" / _STEMS[split]
    images = gzip.decompress(Path(f"{stem}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress(Path(f"{stem}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(images, dtype=np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, dtype=np.uint8)
