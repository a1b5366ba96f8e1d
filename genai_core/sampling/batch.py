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

    form "png" writes one file per image, images/000000.png; "tar" packs the same files into images-00000.tar and so on.
    The manifest's columns: archive (empty for png), file, seed, label (-1: none), class_name, sha256 of the file,
    model_sha256, dataset. Equal arguments give equal bytes. Raises ValueError when the lengths differ.
    """
    if not len(images) == len(seeds) == (len(images) if labels is None else len(labels)):
        counts = f"{len(images)} images, {len(seeds)} seeds" + ("" if labels is None else f", {len(labels)} labels")
        raise ValueError(f"expected one seed and one label per image, got {counts}")
    names = [f"{index:06d}.png" for index in range(len(images))]
    files = [_png(image) for image in images]
    if form == "png":
        (folder / IMAGES_FOLDER).mkdir()
        for name, content in zip(names, files, strict=True):
            (folder / IMAGES_FOLDER / name).write_bytes(content)
        paths, archives = [f"{IMAGES_FOLDER}/{name}" for name in names], [""] * len(names)
    else:
        paths, archives = names, [f"images-{index // TAR_IMAGES:05d}.tar" for index in range(len(names))]
        for begin in range(0, len(names), TAR_IMAGES):
            part = slice(begin, begin + TAR_IMAGES)
            _write_tar(folder / archives[begin], names[part], files[part])
    requested = np.full(len(images), -1) if labels is None else labels
    manifest = pd.DataFrame(
        {
            "archive": archives,
            "file": paths,
            "seed": seeds.astype(np.int64),
            "label": requested.astype(np.int64),
            "class_name": [classes[label] if label >= 0 else "" for label in requested.tolist()],
            "sha256": [hashlib.sha256(content).hexdigest() for content in files],
            "model_sha256": provenance.model_sha256,
            "dataset": provenance.dataset,
        }
    )
    manifest.to_parquet(folder / MANIFEST_FILE, index=False)
    values = {
        "format": FORMAT,
        "images": len(images),
        "form": form,
        "image_size": ImageSize(*images.shape[2:]).to_json(),
        "channels": images.shape[1],
        "classes": list(classes),
        "model": {"family": provenance.family, "sha256": provenance.model_sha256},
        "dataset": provenance.dataset,
        "sampling": dict(provenance.sampling),
        "seed": provenance.seed,
    }
    (folder / PROVENANCE_FILE).write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


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


def _write_tar(path: Path, names: Sequence[str], files: Sequence[bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in zip(names, files, strict=True):
            # TarInfo's defaults are time 0 and no owner, so equal images give equal archives.
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
