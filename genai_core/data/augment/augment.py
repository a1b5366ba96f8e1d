"""New training images from old ones, drawn once and kept as data.

What is drawn for a copy depends on its origin's content, the copy's number and the seed alone: a copy stays the same
byte for byte when the dataset grows or its order changes.
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
# Balancing gives an image at most this many times the copies that plain expansion would: a class of one image would
# otherwise be that image a thousand times, and be learnt by heart.
MAX_BALANCING = 10

Counts = npt.NDArray[np.int64]


def augment(dataset: Dataset, folder: Path, config: AugmentConfig) -> DatasetInfo:
    """Write into `folder` every image of `dataset`, and new training images behind them.

    The images of before stay in their shards, which are the same files in both folders.
    """
    info, train = dataset.info, dataset.rows("train").reset_index(drop=True)
    # As large as the shards that are there, so that no parameter of another stage is needed.
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
        from genai_core.data.augment.policy import augment_images  # torch, seconds that no copies need not pay
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
    """How many copies each image gets: together (expand - 1) times the images, rare classes first when balancing."""
    new_images = round(len(ids) * (config.expand - 1))
    classes = np.zeros(len(ids), dtype=np.int64) if labels is None or not config.balance_classes else labels
    present, class_index = np.unique(classes, return_inverse=True)
    limit = math.ceil(MAX_BALANCING * (config.expand - 1))
    new_by_class = raise_lowest(np.bincount(class_index, minlength=len(present)), new_images, limit)
    # Who gets one more, when it does not come out even, is drawn by content too.
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
    """Share out `new` among counts (K,) so that the lowest rise to one level; count k gets limit * k at most."""

    def given(level: int) -> Counts:
        return np.minimum(np.maximum(level - counts, 0), limit * counts)

    low, high = 0, int(counts.max()) * (limit + 1)
    while low < high:  # the highest level that `new` reaches
        middle = (low + high + 1) // 2
        low, high = (middle, high) if given(middle).sum() <= new else (low, middle - 1)
    shares = given(low)
    # Less than one for each is left.
    for index in np.argsort(counts + shares, kind="stable"):
        if shares.sum() < new and shares[index] < limit * counts[index]:
            shares[index] += 1
    return shares
