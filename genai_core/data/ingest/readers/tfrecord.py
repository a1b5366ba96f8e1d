"""TFRecord files of tf.train.Example with an image each: TensorFlow Datasets, ImageNet, StyleGAN.

An Example has features by name, each a list of bytes, floats or integers (tf_records.py, tf_example.py).
"""

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from genai_core.data.dataset.facts import Pixels
from genai_core.data.ingest.readers.columns import CAPTION_COLUMNS, LABEL_COLUMNS, column_among
from genai_core.data.ingest.readers.encoded import image_extension
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in
from genai_core.data.ingest.readers.texts import lines_of
from genai_core.data.ingest.readers.tf_example import Features, parse_example
from genai_core.data.ingest.readers.tf_records import count_records, records
from genai_core.data.raw.formats import RejectedFile

TFRECORD_EXTENSIONS = (".tfrecord", ".tfrecords")
_NAME = re.compile(r"(?P<stem>.+)\.tfrecords?(?P<shard>-\d+-of-\d+)?(\.gz)?", re.IGNORECASE)
_STYLEGAN_NAME = re.compile(r"(?P<name>.+)-r(?P<level>\d\d)")  # one file for each resolution
_IMAGE_KEYS = ("image/encoded", "image", "image_raw", "img", "jpeg", "png", "encoded", "image_bytes", "data", "x")
_LABEL_KEYS = ("image/class/text", "class/text", "image/class/label", "class/label", *LABEL_COLUMNS)
_CAPTION_KEYS = ("image/caption", *CAPTION_COLUMNS)
_SAMPLED_RECORDS = 256  # a record may lack features that others have


def is_tfrecord_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def read_tfrecords(files: Sequence[Path]) -> Reading:
    """Read the images of all files, named <file>-<index>. Raises ValueError when a file is damaged or has no images.

    The split is a word of a file's name (mnist-train.tfrecord-00000-of-00001). Of StyleGAN's files, one for each
    resolution, only the largest is read.
    """
    levels = {path: match for path in files if (match := _STYLEGAN_NAME.fullmatch(_stem(path)))}
    largest = {
        match["name"]: max(other["level"] for other in levels.values() if other["name"] == match["name"])
        for match in levels.values()
    }
    kept = [path for path in files if path not in levels or levels[path]["level"] == largest[levels[path]["name"]]]
    reading = join_readings([_read_file(path) for path in kept])
    if len(kept) < len(files):
        reading.notes.append(
            f"of several resolutions, only the largest is read: {', '.join(path.name for path in kept)}"
        )
    return reading


def _read_file(path: Path) -> Reading:
    kinds = _kinds(path)
    if kinds is None:
        raise ValueError(f"{path}: contains no images")
    image = column_among([*kinds], _IMAGE_KEYS)
    if image is None or kinds[image] is not bytes:
        raise ValueError(
            f"{path}: no feature can be the image; expected bytes named {', '.join(_IMAGE_KEYS[:3])} ...; "
            f"got {', '.join(sorted(kinds)) or 'none'}"
        )
    label = column_among([name for name, kind in kinds.items() if name != image and kind in (bytes, int)], _LABEL_KEYS)
    caption = column_among([name for name in kinds if name not in (image, label)], _CAPTION_KEYS)
    names = _class_names(path) if label else []
    split = split_in(_stem(path))
    stem = _stem(path) + (match["shard"] or "" if (match := _NAME.fullmatch(path.name)) else "")
    reading = Reading((), count_records(path), splits=frozenset({split}))

    def items() -> Iterator[Item]:
        for index, features in enumerate(_examples(path)):
            name = f"{stem}-{index:06d}"
            content = _content(features, image)
            if content is None:
                found = features.get(image, [b""])[0]
                detail = f"{image} is neither an encoded image nor pixels of a stated shape: {str(found)[:40]}"
                reading.rejected.append(RejectedFile(name, "no_image", detail))
                continue
            class_name = _label(features.get(label, []), names) if label else None
            if label and class_name is None:
                reading.rejected.append(RejectedFile(name, "no_label", f"{label} is {features.get(label, [])}"))
                continue
            extension = image_extension(content) if isinstance(content, bytes) else ".png"
            texts = features.get(caption, []) if caption else []
            yield Item(
                f"{name}{extension}",
                class_name,
                split,
                content,
                tuple(
                    line
                    for text in texts
                    if isinstance(text, bytes)
                    for line in lines_of(text.decode("utf-8", "replace"))
                ),
            )

    reading.items = items()
    reading.understood = Understood(
        layout="TFRecord of Examples",
        labels=f"feature {label}" if label else "",
        split="names of the files" if split else "",
        captions=f"feature {caption}" if caption else "",
    )
    if label is None:
        reading.notes.append(
            f"{path.name}: no feature is a label ({', '.join(sorted(kinds))}); its images have no class"
        )
    return reading


def _kinds(path: Path) -> dict[str, type] | None:
    """Return the features of the first records, each with the type of its values; None for a file without records."""
    kinds: dict[str, type] | None = None
    for features in islice(_examples(path), _SAMPLED_RECORDS):
        kinds = kinds or {}
        for name, values in features.items():
            if values:
                kinds.setdefault(name, type(values[0]))
    return kinds


def _content(features: Features, image: str) -> bytes | Pixels | None:
    """Return an encoded image, or raw pixels whose shape the features state; None if it is neither."""
    [content, *_] = features.get(image) or [None]
    if not isinstance(content, bytes):
        return None
    if image_extension(content):
        return content
    shape = [int(side) for side in features.get("shape", [])] or [
        int(features[name][0]) for name in ("height", "width", "depth") if features.get(name)
    ]
    if len(shape) not in (2, 3) or int(np.prod(shape, dtype=object)) != len(content):
        return None
    pixels: Pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape)
    if len(shape) == 3 and shape[2] not in (1, 3, 4):  # StyleGAN: (C, H, W)
        pixels = pixels.transpose(1, 2, 0)
    return np.ascontiguousarray(pixels) if pixels.ndim == 2 or pixels.shape[2] in (1, 3, 4) else None


def _label(values: Sequence[object], names: Sequence[str]) -> str | None:
    value = values[0] if values else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else str(value)
    return None


def _class_names(path: Path) -> list[str]:
    """Return the class names that TensorFlow Datasets writes beside its files: label.labels.txt."""
    file = path.with_name("label.labels.txt")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def _stem(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return match["stem"] if match else path.stem


def _examples(path: Path) -> Iterator[Features]:
    for index, content in enumerate(records(path)):
        try:
            yield parse_example(content)
        except (ValueError, IndexError, struct.error) as error:
            raise ValueError(f"{path}: record {index:,} is not a tf.train.Example ({error})") from None
