"""Offline augmentation: new training images are made once and stored as data.

The random changes of a copy depend only on its origin's content, the copy's number and the seed. A copy therefore stays
the same byte for byte when the dataset grows or its order changes.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.config import AugmentConfig
from genai_core.data.dataset.dataset import Dataset, DatasetInfo, Labels
from genai_core.data.dataset.writer import DatasetWriter

AUGMENTED = "augmented"
# Balancing gives an image at most this many times the copies of plain expansion. Without a limit, a class with one
# image would become a thousand copies of that image, and the model would memorise it.
MAX_BALANCING = 10

Counts = npt.NDArray[np.int64]


def augment(dataset: Dataset, folder: Path, config: AugmentConfig) -> DatasetInfo:
    """Write every image of `dataset` into `folder`, followed by the new training images.

    Existing images stay in their shards, which are the same files in both folders.
    """
    info, train = dataset.info, dataset.rows("train").reset_index(drop=True)
    # Same size as the existing shards, so this stage needs no parameter of another stage.
    shard_images = int(dataset.manifest["shard"].value_counts().max())
    writer = DatasetWriter(
        folder,
        image_size=info.image_size,
        channels=info.channels,
        classes=info.classes,
        shard_images=shard_images,
    )
    writer.keep(dataset, dataset.manifest)
    copies = plan_copies(train["id"].tolist(), dataset.labels("train"), config)
    origins = np.repeat(np.arange(len(train)), copies)
    numbers = np.concatenate([np.arange(1, count + 1) for count in copies])
    if len(origins):
        from genai_core.data.augment.policy import augment_images  # imports torch: seconds, wasted without copies
    for begin in range(0, len(origins), shard_images):
        rows = train.iloc[origins[begin : begin + shard_images]]
        ids, number = rows["id"].tolist(), numbers[begin : begin + shard_images].tolist()
        writer.add(
            "train",
            augment_images(dataset.images_at(rows), ids, number, config),
            rows["label"].to_numpy() if info.classes else None,
            ids=[f"{origin}-{copy}" for origin, copy in zip(ids, number, strict=True)],
            sources=rows["source"].tolist(),
            flags=[f"{AUGMENTED}:{origin}" for origin in ids],
        )
    return writer.finish()


def plan_copies(ids: Sequence[str], labels: Labels | None, config: AugmentConfig) -> Counts:
    """Number of copies per image, (expand - 1) * N in total; balancing gives rare classes their copies first."""
    new_images = round(len(ids) * (config.expand - 1))
    classes = np.zeros(len(ids), dtype=np.int64) if labels is None or not config.balance_classes else labels
    present, class_index = np.unique(classes, return_inverse=True)
    limit = math.ceil(MAX_BALANCING * (config.expand - 1))
    new_by_class = raise_lowest(np.bincount(class_index, minlength=len(present)), new_images, limit)
    # When a class's copies do not divide evenly, a hash of the seed and the id decides which images get one more.
    drawn = np.array([hashlib.sha256(f"{config.seed} {name}".encode()).hexdigest() for name in ids])
    copies = np.zeros(len(ids), dtype=np.int64)
    for index, new in enumerate(new_by_class):
        members = np.flatnonzero(class_index == index)
        members = members[np.argsort(drawn[members], kind="stable")]
        each, rest = divmod(int(new), len(members))
        copies[members] = each
        copies[members[:rest]] += 1
    return copies


def raise_lowest(counts: Counts, new: int, limit: int) -> Counts:
    """Distribute `new` among counts (K,) to raise the lowest to a common level; count k gets at most limit * k."""

    def given(level: int) -> Counts:
        return np.minimum(np.maximum(level - counts, 0), limit * counts)

    low, high = 0, int(counts.max()) * (limit + 1)
    while low < high:  # find the highest level that `new` reaches
        middle = (low + high + 1) // 2
        low, high = (middle, high) if given(middle).sum() <= new else (low, middle - 1)
    shares = given(low)
    # Fewer than one per entry remain.
    for index in np.argsort(counts + shares, kind="stable"):
        if shares.sum() < new and shares[index] < limit * counts[index]:
            shares[index] += 1
    return shares
