"""A batch of generated images on disk: images, a manifest with one row each, and their provenance."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from genai_core.image_size import ImageSize

FORMAT = 1
IMAGES_FOLDER = "images"
MANIFEST_FILE = "manifest.parquet"
PROVENANCE_FILE = "provenance.json"
# Limits an archive to a few hundred MB, for workers that read it as a whole.
TAR_IMAGES = 10_000


@dataclass(frozen=True)
class Provenance:
    """The model that generated the images, its training data, and how it was sampled."""

    model_sha256: str  # of the weights
    family: str
    dataset: str  # fingerprint of the dataset the model was trained on
    sampling: Mapping[str, Any]
    seed: int  # image i uses seed + i


class BatchWriter:
    """Write a batch piece by piece into the existing `folder`: only one piece is in memory, besides the manifest.

    form "png" writes one file per image, images/000000.png; "tar" packs the same files into images-00000.tar and so on.
    Equal images give equal bytes, whatever the pieces. Use it in a `with`; `finish` writes manifest and provenance.
    """

    def __init__(
        self, folder: Path, classes: Sequence[str], form: Literal["png", "tar"], provenance: Provenance
    ) -> None:
        self._folder, self._classes, self._form, self._provenance = folder, classes, form, provenance
        self._count = 0
        self._columns: dict[str, list[npt.NDArray[Any]]] = {"seed": [], "label": []}
        self._hashes: list[str] = []
        self._shape: tuple[int, ...] = ()
        self._tar: tarfile.TarFile | None = None
        if form == "png":
            (folder / IMAGES_FOLDER).mkdir()

    def __enter__(self) -> "BatchWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._close_tar()

    def add(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64] | None, seeds: npt.NDArray[np.int64]
    ) -> None:
        """Write images (N, C, H, W) uint8 with labels (N,) (None: no classes) and seeds (N,).

        Raises ValueError when the lengths differ.
        """
        if not len(images) == len(seeds) == (len(images) if labels is None else len(labels)):
            counts = f"{len(images)} images, {len(seeds)} seeds" + ("" if labels is None else f", {len(labels)} labels")
            raise ValueError(f"expected one seed and one label per image, got {counts}")
        self._shape = images.shape[1:]
        for image in images:
            content = _png(image)
            self._hashes.append(hashlib.sha256(content).hexdigest())
            self._write(f"{self._count:06d}.png", content)
            self._count += 1
        self._columns["seed"].append(seeds.astype(np.int64))
        self._columns["label"].append(np.full(len(images), -1) if labels is None else labels.astype(np.int64))

    def finish(self) -> None:
        """Write manifest.parquet and provenance.json. The manifest has one row per image.

        Its columns: archive (empty for png), file, seed, label (-1: none), class_name, sha256 of the file,
        model_sha256, dataset.
        """
        self._close_tar()
        total = range(self._count)
        tar = self._form == "tar"
        labels = np.concatenate(self._columns["label"])
        manifest = pd.DataFrame(
            {
                "archive": [_archive(index) if tar else "" for index in total],
                "file": [f"{index:06d}.png" if tar else f"{IMAGES_FOLDER}/{index:06d}.png" for index in total],
                "seed": np.concatenate(self._columns["seed"]),
                "label": labels,
                "class_name": [self._classes[label] if label >= 0 else "" for label in labels.tolist()],
                "sha256": self._hashes,
                "model_sha256": self._provenance.model_sha256,
                "dataset": self._provenance.dataset,
            }
        )
        manifest.to_parquet(self._folder / MANIFEST_FILE, index=False)
        channels, *size = self._shape
        values = {
            "format": FORMAT,
            "images": self._count,
            "form": self._form,
            "image_size": ImageSize(*size).to_json(),
            "channels": channels,
            "classes": list(self._classes),
            "model": {"family": self._provenance.family, "sha256": self._provenance.model_sha256},
            "dataset": self._provenance.dataset,
            "sampling": dict(self._provenance.sampling),
            "seed": self._provenance.seed,
        }
        (self._folder / PROVENANCE_FILE).write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")

    def _write(self, name: str, content: bytes) -> None:
        if self._form == "png":
            (self._folder / IMAGES_FOLDER / name).write_bytes(content)
            return
        if self._count % TAR_IMAGES == 0:
            self._close_tar()
            self._tar = tarfile.open(self._folder / _archive(self._count), "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        assert self._tar is not None
        # TarInfo's defaults are time 0 and no owner, so equal images give equal archives.
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def _close_tar(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None


def write_batch(
    folder: Path,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    seeds: npt.NDArray[np.int64],
    classes: Sequence[str],
    form: Literal["png", "tar"],
    provenance: Provenance,
) -> None:
    """Write images (N, C, H, W) uint8 with labels (N,) (None: no classes) and seeds (N,) to the existing `folder`.

    As BatchWriter does. Equal arguments give equal bytes. Raises ValueError when the lengths differ.
    """
    with BatchWriter(folder, classes, form, provenance) as writer:
        writer.add(images, labels, seeds)
        writer.finish()


def read_manifest(folder: Path) -> pd.DataFrame:
    """Return one row per image of the batch in `folder`. Raises FileNotFoundError when there is none."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no batch of images found; run `genai run generate`")
    return pd.read_parquet(path)


def read_images(folder: Path, rows: pd.DataFrame) -> npt.NDArray[np.uint8]:
    """Return the images (N, C, H, W) uint8 of some manifest rows, in the order of `rows`.

    Raises ValueError when a file has changed since it was written, or `rows` is empty.
    """
    if len(rows) == 0:
        raise ValueError(f"{folder}: expected at least one row of {MANIFEST_FILE}, got none")
    images: list[npt.NDArray[np.uint8] | None] = [None] * len(rows)
    # Open each archive once, even if its images are scattered among the rows.
    for archive in rows["archive"].unique():
        places = np.flatnonzero(rows["archive"] == archive)
        part = rows.iloc[places]
        contents = (
            _from_folder(folder, part["file"]) if archive == "" else _from_tar(folder / str(archive), part["file"])
        )
        for place, row, content in zip(places.tolist(), part.itertuples(), contents, strict=True):
            if hashlib.sha256(content).hexdigest() != row.sha256:
                raise ValueError(f"{folder}: the sha256 of {row.file} differs from {MANIFEST_FILE}; generate it again")
            pixels = np.asarray(Image.open(io.BytesIO(content)))
            images[place] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.stack([image for image in images if image is not None])


def _from_folder(folder: Path, names: Iterable[str]) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]


def _from_tar(path: Path, names: Iterable[str]) -> list[bytes]:
    with tarfile.open(path) as archive:
        files = [archive.extractfile(name) for name in names]
        return [file.read() for file in files if file is not None]


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def _archive(index: int) -> str:
    """The archive that contains an image, by its place in the batch."""
    return f"images-{index // TAR_IMAGES:05d}.tar"
