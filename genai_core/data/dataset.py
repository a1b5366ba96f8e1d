"""The dataset form that every later stage reads: a manifest, shards of uint8 pixels, and a description.

A dataset folder holds
    manifest.parquet    one row an image (see MANIFEST_COLUMNS)
    shards/<sha>.npy    uint8 (N, C, H, W), named by the sha256 of the file; a shard holds images of one split
    dataset.json        the description (DatasetInfo)
and, from the stages that write it, card.md with pictures.
"""

import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

SCHEMA_VERSION = 1
NO_LABEL = -1

MANIFEST_COLUMNS = {
    "id": "str",  # short name: the head of sha256; a copy made by augmentation has its origin's and a number
    "sha256": "str",  # of the pixels as they stand in the shard, (C, H, W) in C order
    "label": "int64",  # index into classes, or NO_LABEL
    "split": "str",
    "source": "str",  # the file that it came from, relative to the raw data
    "shard": "str",  # file name below shards/
    "row": "int64",  # index in the shard
    "flags": "str",  # words apart by spaces, such as "wrong_extension" or "augmented:<id of the origin>"
}

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json. `mean` and `std` are a channel's, over the train split, of pixels scaled to 0..1."""

    schema_version: int
    image_size: int
    channels: int
    classes: tuple[str, ...]  # empty: the images have no labels
    counts: dict[str, int]  # images by split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str  # sha256 of shape, classes and every image's pixels, label and split, in manifest order


class Dataset:
    """A dataset on disk: the manifest in memory, pixels read when they are asked for."""

    def __init__(self, folder: Path, info: DatasetInfo, manifest: pd.DataFrame) -> None:
        self.folder = folder
        self.info = info
        self.manifest = manifest

    def rows(self, split: Split) -> pd.DataFrame:
        """The manifest's rows of one split, in manifest order."""
        return self.manifest[self.manifest["split"] == split]

    def images(self, split: Split) -> Pixels:
        """All images of one split, uint8 (N, C, H, W), in manifest order."""
        return self.images_at(self.rows(split))

    def labels(self, split: Split) -> Labels | None:
        """Class indices (N,) int64 in the order of `images(split)`, or None when the dataset has no labels."""
        if not self.info.classes:
            return None
        return self.rows(split)["label"].to_numpy(dtype=np.int64)

    def images_at(self, rows: pd.DataFrame) -> Pixels:
        """The images of some of the manifest's rows, uint8 (N, C, H, W), in the order of `rows`."""
        size = self.info.image_size
        images = np.empty((len(rows), self.info.channels, size, size), dtype=np.uint8)
        shards, index_in_shard = rows["shard"].to_numpy(), rows["row"].to_numpy()
        for shard in pd.unique(rows["shard"]):
            wanted = np.flatnonzero(shards == shard)
            images[wanted] = self._shard(str(shard))[index_in_shard[wanted]]
        return images

    def _shard(self, name: str) -> Pixels:
        pixels: Pixels = np.load(self.folder / "shards" / name, mmap_mode="r", allow_pickle=False)
        return pixels


def load_dataset(folder: Path) -> Dataset:
    """Open a dataset folder. Raises FileNotFoundError or ValueError, saying what to do, when it is none or damaged."""
    try:
        values = json.loads((folder / "dataset.json").read_text())
        manifest = pd.read_parquet(folder / "manifest.parquet")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} is no dataset: {Path(error.filename or '').name} is missing; run `genai run prepare augment`"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it and run its stage again") from None
    info = _parse_info(folder, values)
    missing = [column for column in MANIFEST_COLUMNS if column not in manifest.columns]
    if missing:
        raise ValueError(f"{folder}/manifest.parquet lacks the columns {', '.join(missing)}; run its stage again")
    lost = [name for name in pd.unique(manifest["shard"]) if not (folder / "shards" / str(name)).is_file()]
    if lost:
        raise FileNotFoundError(
            f"{folder} is damaged: {len(lost)} shards are missing, first {lost[0]}; try `dvc checkout`"
        )
    return Dataset(folder, info, manifest)


class DatasetWriter:
    """Writes a dataset into an empty folder: `add` or `keep` images, then `finish`.

    Images get their place in the order in which they are added. Memory: never more than one shard of pixels besides
    what the caller holds.
    """

    def __init__(
        self, folder: Path, *, image_size: int, channels: int, classes: Sequence[str], shard_images: int
    ) -> None:
        self._folder = folder
        self._image_size, self._channels = image_size, channels
        self._classes = tuple(classes)
        self._shard_images = shard_images
        self._parts: list[pd.DataFrame] = []
        self._train_histogram = np.zeros((channels, 256), dtype=np.int64)
        (folder / "shards").mkdir(parents=True, exist_ok=True)

    def add(
        self,
        split: Split,
        images: Pixels,
        labels: Labels | None = None,
        *,
        ids: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        flags: Sequence[str] | None = None,
    ) -> None:
        """Add images (N, C, H, W) uint8 with labels (N,); labels are None exactly when the dataset has no classes.

        ids default to the head of the pixels' sha256. Raises ValueError when a shape or a label does not fit.
        """
        shape = (self._channels, self._image_size, self._image_size)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            expected = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"images must be uint8 ({expected}), got {images.dtype} {images.shape}")
        count = len(images)
        if (labels is None) != (not self._classes):
            raise ValueError("labels must be given exactly when the dataset has classes")
        if labels is None:
            labels = np.full(count, NO_LABEL, dtype=np.int64)
        elif len(labels) != count or (count and not 0 <= labels.min() <= labels.max() < len(self._classes)):
            raise ValueError(f"labels must be {count} numbers from 0 to {len(self._classes) - 1}")
        hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        rows = pd.DataFrame(
            {
                "id": [sha256[:16] for sha256 in hashes] if ids is None else list(ids),
                "sha256": hashes,
                "label": labels,
                "split": split,
                "source": "" if sources is None else list(sources),
                "shard": "",
                "row": 0,
                "flags": "" if flags is None else list(flags),
            }
        )
        for begin in range(0, count, self._shard_images):
            self._write_shard(images[begin : begin + self._shard_images], rows[begin : begin + self._shard_images])

    def keep(self, dataset: Dataset) -> None:
        """Take over every image of another dataset of the same shape and classes; its shards stay byte for byte."""
        for name in pd.unique(dataset.manifest["shard"]):
            shutil.copyfile(dataset.folder / "shards" / str(name), self._folder / "shards" / str(name))
        train = dataset.rows("train")
        for begin in range(0, len(train), self._shard_images):
            self._count_pixels(dataset.images_at(train[begin : begin + self._shard_images]))
        self._parts.append(dataset.manifest[list(MANIFEST_COLUMNS)])

    def finish(self) -> DatasetInfo:
        """Write manifest and description. Raises ValueError when a split is empty."""
        if not self._parts:
            raise ValueError("a dataset needs images, got none")
        manifest = pd.concat(self._parts, ignore_index=True).astype(MANIFEST_COLUMNS)
        counts: dict[str, int] = {split: int((manifest["split"] == split).sum()) for split in SPLITS}
        if not all(counts.values()):
            raise ValueError(f"a dataset needs images in train and in test, got {counts}")
        mean, std = self._moments()
        info = DatasetInfo(
            schema_version=SCHEMA_VERSION,
            image_size=self._image_size,
            channels=self._channels,
            classes=self._classes,
            counts=counts,
            mean=mean,
            std=std,
            fingerprint=self._fingerprint(manifest),
        )
        manifest.to_parquet(self._folder / "manifest.parquet", index=False)
        (self._folder / "dataset.json").write_text(json.dumps(dataclasses.asdict(info), indent=2) + "\n")
        return info

    def _write_shard(self, images: Pixels, rows: pd.DataFrame) -> None:
        if rows["split"].iloc[0] == "train":
            self._count_pixels(images)
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(images), allow_pickle=False)
        name = hashlib.sha256(file.getbuffer()).hexdigest() + ".npy"
        (self._folder / "shards" / name).write_bytes(file.getbuffer())
        self._parts.append(rows.assign(shard=name, row=np.arange(len(rows))))

    def _count_pixels(self, images: Pixels) -> None:
        # Whole numbers: the moments come out the same whatever the order and the shard size.
        for channel in range(self._channels):
            self._train_histogram[channel] += np.bincount(images[:, channel].ravel(), minlength=256)

    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        value = np.arange(256) / 255
        weight = self._train_histogram / self._train_histogram.sum(axis=1, keepdims=True)
        mean = weight @ value
        std = np.sqrt(np.maximum(weight @ value**2 - mean**2, 0))
        return tuple(mean.tolist()), tuple(std.tolist())

    def _fingerprint(self, manifest: pd.DataFrame) -> str:
        digest = hashlib.sha256()
        digest.update(json.dumps([SCHEMA_VERSION, self._image_size, self._channels, self._classes]).encode())
        for line in _lines(manifest):
            digest.update(line.encode())
        return digest.hexdigest()


def _lines(manifest: pd.DataFrame) -> Iterator[str]:
    columns = (manifest[name] for name in ("sha256", "label", "split"))
    return (f"\n{sha256} {label} {split}" for sha256, label, split in zip(*columns, strict=True))


def _parse_info(folder: Path, values: dict[str, object]) -> DatasetInfo:
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{folder}/dataset.json has schema version {version}, this code reads {SCHEMA_VERSION}; run its stage again"
        )
    try:
        info = DatasetInfo(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{folder}/dataset.json is damaged ({error}); run its stage again") from None
    # JSON knows lists only.
    return dataclasses.replace(
        info, classes=tuple(info.classes), mean=tuple(info.mean), std=tuple(info.std), counts=dict(info.counts)
    )
