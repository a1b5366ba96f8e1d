"""Columns of a table that contains its images, as Hugging Face's `datasets` writes it; for Parquet and Arrow.

The images are a column struct<bytes: binary, path: string> or plain binary. Label names are in the schema's metadata
under "huggingface": {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.columns import CAPTION_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, column_among
from genai_core.data.ingest.readers.encoded import image_extension
from genai_core.data.ingest.readers.items import Item, Understood, split_of
from genai_core.data.ingest.readers.texts import are_captions, lines_of
from genai_core.data.raw.formats import RejectedFile

_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "bytes", "image_bytes", "data", "png", "jpg", "jpeg")
SAMPLED_ROWS = 10_000  # of a text column, to tell labels from captions


@dataclass(frozen=True)
class Columns:
    image: str
    in_struct: bool
    label: str | None
    class_names: tuple[str, ...]  # by number; empty if the column holds the names
    captions: tuple[str, ...]  # columns of texts, or lists of texts
    split: str | None

    @property
    def wanted(self) -> list[str]:
        return [name for name in (self.image, self.label, *self.captions, self.split) if name]

    @property
    def understood(self) -> Understood:
        return Understood(
            labels=f"column {self.label}" if self.label else "",
            split=f"column {self.split}" if self.split else "",
            captions=" and ".join(f"column {name}" for name in self.captions),
        )


def image_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_binary(field.type) or _is_image_struct(field.type)]


def find_columns(source: str, schema: pa.Schema, texts_of: Mapping[str, list[str]]) -> Columns:
    """Find the columns by their types and names. Raises ValueError, listing them, when none can be the images.

    texts_of: the first values of each text column; a label column whose values nearly all differ has captions.
    """
    images = image_columns(schema)
    image = images[0] if len(images) == 1 else column_among(images, _IMAGE_COLUMNS)
    if image is None:
        raise ValueError(
            f"{source}: no column can be identified as the images; expected one column of bytes, or one named image; "
            f"got {', '.join(f'{field.name} ({field.type})' for field in schema)}"
        )
    classes = _class_labels(schema)
    label = next(iter(classes)) if len(classes) == 1 else column_among(schema.names, LABEL_COLUMNS)
    label = None if label == image else label
    texts = [field.name for field in schema if _is_text(field.type) and field.name != image]
    caption = column_among([name for name in texts if name != label], CAPTION_COLUMNS)
    captions = [caption] if caption else []
    if label and label in texts_of and label not in classes and are_captions(texts_of[label]):
        captions, label = [label, *captions], None
    return Columns(
        image=image,
        in_struct=pa.types.is_struct(schema.field(image).type),
        label=label,
        class_names=classes.get(label or "", ()),
        captions=tuple(captions),
        split=column_among([name for name in schema.names if name not in (label, *captions)], SPLIT_COLUMNS),
    )


def text_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of single texts that could be labels."""
    label = column_among(schema.names, LABEL_COLUMNS)
    return [label] if label and _is_string(schema.field(label).type) else []


def item_of_row(
    row: Mapping[str, Any], columns: Columns, name: str, split: Split | None, rejected: list[RejectedFile]
) -> Item | None:
    """Return the image of one row; None, after adding it to `rejected`, if there is none."""
    value = row[columns.image]
    content = value["bytes"] if columns.in_struct and value is not None else value
    if content is None:
        named = value.get("path") if columns.in_struct and value else None
        rejected.append(RejectedFile(name, "missing_file", f"no bytes in the row, only the path {named!r}"))
        return None
    extension = image_extension(content)
    if extension is None:
        rejected.append(RejectedFile(name, "no_image", f"{len(content):,} bytes that start with {content[:8]!r}"))
        return None
    label = None
    if columns.label:
        label = _label(row[columns.label], columns.class_names)
        if label is None:
            detail = f"{columns.label} is {row[columns.label]!r}"
            rejected.append(RejectedFile(name, "no_label" if row[columns.label] in (None, -1) else "bad_label", detail))
            return None
    if columns.split:
        split = split_of(str(row[columns.split]))
    return Item(name + extension, label, split, content, _captions(row, columns))


def _captions(row: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    found: list[str] = []
    for column in columns.captions:
        value = row[column]
        for text in value if isinstance(value, list) else [value]:
            found += lines_of(text) if isinstance(text, str) else ()
    return tuple(dict.fromkeys(found))


def _label(value: Any, class_names: tuple[str, ...]) -> str | None:
    if class_names and isinstance(value, int):
        return class_names[value] if 0 <= value < len(class_names) else None  # `datasets` uses -1 for "no label"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes integer columns with gaps as floats
    return str(value) if isinstance(value, str | int) else None


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(part.name == "bytes" and _is_binary(part.type) for part in kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return _is_string(kind) or bool(pa.types.is_list(kind) and _is_string(kind.value_type))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the ClassLabel columns of `datasets`, with their class names by number."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and name in schema.names
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
