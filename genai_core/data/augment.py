"""New training images from old ones, drawn once and kept as data.

What is drawn for a copy depends on its origin's content, the copy's number and the seed alone: a copy stays the same
byte for byte when the dataset grows or its order changes.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from genai_core.config import AugmentConfig
from genai_core.data.dataset import Dataset, DatasetInfo, Labels
from genai_core.data.facts import Pixels
from genai_core.data.writer import DatasetWriter

AUGMENTED = "augmented"
# Balancing gives an image at most this many times the copies that plain expansion would: a class of one image would
# otherwise be that image a thousand times, and be learnt by heart.
MAX_BALANCING = 10
# A border is plain when half of it or more is this near (in levels) to its middle colour.
PLAIN_LEVELS = 8

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """What one copy differs by."""

    flip: bool
    angle_degrees: float
    shift_x_px: float
    shift_y_px: float
    scale: float
    brightness: float  # factors; 1.0 changes nothing
    contrast: float


def augment(dataset: Dataset, folder: Path, config: AugmentConfig) -> DatasetInfo:
    """Write into `folder` every image of `dataset`, and new training images behind them."""
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


def augment_images(images: Pixels, ids: Sequence[str], numbers: Sequence[int], config: AugmentConfig) -> Pixels:
    """A changed copy of each image: images (N, C, H, W) uint8, ids and copy numbers (N,) -> (N, C, H, W) uint8."""
    copies = np.empty_like(images)
    for index, (image, name, number) in enumerate(zip(images, ids, numbers, strict=True)):
        copies[index] = _changed(torch.from_numpy(image), draw_change(name, number, images.shape[-1], config))
    return copies


def draw_change(origin: str, number: int, image_size: int, config: AugmentConfig) -> Change:
    """The change of copy `number` of the image `origin`; uniform in the config's ranges."""
    digest = hashlib.sha256(f"{config.seed} {origin} {number}".encode()).digest()
    uniform = np.frombuffer(digest, dtype="<u4") / 2**32
    signed = (2 * uniform - 1).tolist()
    return Change(
        flip=config.horizontal_flip and signed[0] < 0,
        angle_degrees=signed[1] * config.rotate_degrees,
        shift_x_px=signed[2] * config.translate_share * image_size,
        shift_y_px=signed[3] * config.translate_share * image_size,
        scale=1 + signed[4] * config.zoom_share,
        brightness=1 + signed[5] * config.brightness,
        contrast=1 + signed[6] * config.contrast,
    )


def _changed(image: torch.Tensor, change: Change) -> torch.Tensor:
    """image (C, H, W) uint8 -> the same shape and type."""
    if change.flip:
        image = functional.horizontal_flip_image(image)
    if (change.angle_degrees, change.shift_x_px, change.shift_y_px, change.scale) != (0, 0, 0, 1):
        image = _moved(image, change)
    if change.brightness != 1:
        image = functional.adjust_brightness_image(image, change.brightness)
    if change.contrast != 1:
        image = functional.adjust_contrast_image(image, change.contrast)
    return image


def _moved(image: torch.Tensor, change: Change) -> torch.Tensor:
    """Turned, shifted and scaled. What comes in at the edge goes on with what is there.

    A digit or a cut-out object on a plain ground gets more of that ground; a picture that fills its frame is mirrored
    at its edge, where a strip of one colour would be something to learn.
    """
    ring = torch.cat([image[:, 0], image[:, -1], image[:, 1:-1, 0], image[:, 1:-1, -1]], dim=1).to(torch.int16)
    colour = ring.median(dim=1, keepdim=True).values
    is_plain = ((ring - colour).abs() <= PLAIN_LEVELS).all(dim=0).float().mean() >= 0.5
    # With pixels beyond the edge to draw from; affine's own fill darkens the seam, as it mixes in black there.
    margin = _margin(image.shape[-1], change)
    fill = colour.flatten().float().tolist()
    if is_plain:
        image = functional.pad_image(image, [margin], fill=fill, padding_mode="constant")
    else:
        # Mirroring cannot give more than the image has; strong changes need more.
        mirrored = min(margin, image.shape[-1] - 1)
        image = functional.pad_image(image, [mirrored], padding_mode="reflect")
        image = functional.pad_image(image, [margin - mirrored], padding_mode="edge")
    moved: torch.Tensor = functional.affine_image(
        image,
        angle=change.angle_degrees,
        translate=[change.shift_x_px, change.shift_y_px],
        scale=change.scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=fill,
    )
    return moved[:, margin : moved.shape[1] - margin, margin : moved.shape[2] - margin]


def _margin(size: int, change: Change) -> int:
    """Pixels beyond the edge that a change can bring into view."""
    angle = math.radians(change.angle_degrees)
    turn = abs(math.cos(angle)) + abs(math.sin(angle))
    reach = turn * (size / 2 + max(abs(change.shift_x_px), abs(change.shift_y_px))) / change.scale
    # One more, for bilinear interpolation.
    return max(0, math.ceil(reach - size / 2) + 1)
