"""WebDataset format: the files of one sample share a key, as in 000123.jpg with 000123.cls, .json or .txt.

The key is the path up to the first dot of the file name (https://github.com/webdataset/webdataset).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from genai_core.data.ingest.readers.columns import LABEL_COLUMNS, column_among
from genai_core.data.ingest.readers.items import Item, Reading, split_of
from genai_core.data.raw.formats import IMAGE_EXTENSIONS, RejectedFile
from genai_core.data.raw.rules import is_bad_name, printable

LABEL_EXTENSIONS = (".cls", ".json", ".txt")  # in order of precedence
_MAX_LABEL_BYTES = 1 << 20
# Longer texts are captions or box coordinates.
_MAX_LABEL_WORDS = 4
_MAX_LABEL_CHARACTERS = 64


@dataclass
class _Sample:
    images: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)  # extension -> file


def are_samples(files: Sequence[str]) -> bool:
    """Whether the files of a folder are WebDataset samples.

    They are if any file is a .cls or, without class folders, if at least half of the images have a .json or .txt.
    """
    if any(path.lower().endswith(".cls") for path in files):
        return True
    samples = [sample for sample in _grouped(files).values() if sample.images]
    folders = {str(PurePosixPath(sample.images[0]).parent) for sample in samples}
    return len(folders) == 1 and 2 * sum(bool(sample.labels) for sample in samples) >= len(samples)


def read_samples(folder: Path, files: Sequence[str]) -> Reading:
    """Read one image per key; files: relative to `folder`, with "/".

    A label is the text of .cls, or the value of label, class ... in .json, or the text of .txt if it is a few words.
    The first word of a shard's (a top folder's) name decides the split: train-0000/000123.jpg.
    """
    samples = {key: sample for key, sample in sorted(_grouped(files).items()) if sample.images}
    bad_names = tuple(printable(sample.images[0]) for key, sample in samples.items() if is_bad_name(key))
    samples = {key: sample for key, sample in samples.items() if not is_bad_name(sample.images[0])}
    rejected: list[RejectedFile] = []
    labels: dict[str, str] = {}
    for key, sample in samples.items():
        label = _label(folder, key, sample, rejected)
        if label is not None:
            labels[key] = label
    if not labels:
        rejected.clear()
    rejected_keys = {file.source for file in rejected}
    reading = Reading((), len(samples) - len(rejected_keys), rejected, bad_names=bad_names)

    def items() -> Iterator[Item]:
        for key, sample in samples.items():
            if key in rejected_keys:
                continue
            image = _image(sample)
            if image is None:
                detail = f"{len(sample.images)} images for one key: {', '.join(sorted(sample.images))}"
                rejected.append(RejectedFile(key, "several_images", detail))
                continue
            top = key.split("/", 1)[0] if "/" in key else ""
            split = split_of(top.replace("_", "-").split("-")[0])
            yield Item(image, labels.get(key), split, folder / image)

    reading.items = items()
    if not labels:
        reading.notes.append("no sample has a label (.cls, .json or .txt of a few words); the images have no class")
    return reading


def _label(folder: Path, key: str, sample: _Sample, rejected: list[RejectedFile]) -> str | None:
    for extension in LABEL_EXTENSIONS:
        name = sample.labels.get(extension)
        if name is None:
            continue
        try:
            with (folder / name).open("rb") as file:
                text = file.read(_MAX_LABEL_BYTES + 1).decode("utf-8-sig").strip()
            label = _from_json(json.loads(text)) if extension == ".json" else _from_text(text)
        except (ValueError, RecursionError) as error:
            rejected.append(RejectedFile(key, "bad_label", f"{name}: {error}"))
            return None
        if label is not None:
            return label
    rejected.append(RejectedFile(key, "no_label", f"none of {', '.join(LABEL_EXTENSIONS)} holds a label"))
    return None


def _from_text(text: str) -> str | None:
    is_label = 0 < len(text) <= _MAX_LABEL_CHARACTERS and len(text.split()) <= _MAX_LABEL_WORDS and "\n" not in text
    return text if is_label else None


def _from_json(value: Any) -> str | None:
    if isinstance(value, dict):
        column = column_among([str(key) for key in value], LABEL_COLUMNS)
        value = value.get(column)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _image(sample: _Sample) -> str | None:
    """Return the sample's image, preferring 1.jpg over 1.mask.png; None if ambiguous."""
    plain = [name for name in sample.images if PurePosixPath(name).name.count(".") == 1]
    images = plain or sample.images
    return images[0] if len(images) == 1 else None


def _grouped(files: Sequence[str]) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for path in files:
        folder, slash, name = path.rpartition("/")
        key = folder + slash + name.split(".", 1)[0]
        extension = PurePosixPath(name).suffix.lower()
        if extension in IMAGE_EXTENSIONS:
            samples.setdefault(key, _Sample()).images.append(path)
        elif extension in LABEL_EXTENSIONS:
            samples.setdefault(key, _Sample()).labels.setdefault(extension, path)
    return samples
