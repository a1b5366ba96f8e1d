"""Parquet datasets that contain their images, as written by Hugging Face's `datasets`.

The images are a column struct<bytes: binary, path: string> or plain binary. Label names are in the schema's metadata
under "huggingface": {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.columns import LABEL_COLUMNS, SPLIT_COLUMNS, column_among
from genai_core.data.ingest.readers.encoded import image_extension
from genai_core.data.ingest.readers.items import Item, Reading, join_readings, split_of
from genai_core.data.raw.formats import RejectedFile

_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "bytes", "image_bytes", "data", "png", "jpg", "jpeg")
_BATCH_ROWS = 256


@dataclass(frozen=True)
class _Columns:
    image: str
    in_struct: bool
    label: str | None
    class_names: tuple[str, ...]  # by number; empty if the column holds the names
    split: str | None


def holds_images(path: Path) -> bool:
    """Whether a Parquet file has a column of image bytes; otherwise it may be a table of labels."""
    return bool(_image_columns(_schema(path)))


def read_parquet(files: Sequence[Path], root: Path) -> Reading:
    """Read the images of all files, named <file>-<row>.

    The split comes from a file's name or its folder below `root` (train-00000-of-00002.parquet, test/0.parquet), or
    from a column.
    """
    return join_readings([_read_file(path, root) for path in files])


def _read_file(path: Path, root: Path) -> Reading:
    schema = _schema(path)
    columns = _find_columns(path, schema)
    rows = pq.read_metadata(path).num_rows
    split = _split_of_file(path, root)
    stem = "-".join(path.relative_to(root).with_suffix("").parts) if path != root else path.stem
    reading = Reading((), rows)

    def items() -> Iterator[Item]:
        wanted = [name for name in (columns.image, columns.label, columns.split) if name]
        try:
            with pq.ParquetFile(path) as file:
                index = 0
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                    for row in batch.to_pylist():
                        item = _item(row, columns, f"{stem}-{index:06d}", split, reading.rejected)
                        if item:
                            yield item
                        index += 1
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise ValueError(f"{path}: damaged ({error}); download it again") from None

    reading.items = items()
    if columns.label is None:
        reading.notes.append(f"{path.name}: no label column ({', '.join(schema.names)}), its images have no class")
    return reading


def _item(
    row: dict[str, Any], columns: _Columns, name: str, split: Split | None, rejected: list[RejectedFile]
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
    return Item(name + extension, label, split, content)


def _label(value: Any, class_names: tuple[str, ...]) -> str | None:
    if class_names and isinstance(value, int):
        return class_names[value] if 0 <= value < len(class_names) else None  # `datasets` uses -1 for "no label"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes integer columns with gaps as floats
    return str(value) if isinstance(value, str | int) else None


def _find_columns(path: Path, schema: pa.Schema) -> _Columns:
    images = _image_columns(schema)
    image = images[0] if len(images) == 1 else column_among(images, _IMAGE_COLUMNS)
    if image is None:
        raise ValueError(
            f"{path}: no column can be identified as the images; expected one column of bytes, or one named image; got "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)}"
        )
    classes = _class_labels(schema)
    label = next(iter(classes)) if len(classes) == 1 else column_among(schema.names, LABEL_COLUMNS)
    return _Columns(
        image=image,
        in_struct=pa.types.is_struct(schema.field(image).type),
        label=label if label != image else None,
        class_names=classes.get(label or "", ()),
        split=column_among(schema.names, SPLIT_COLUMNS),
    )


def _image_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_binary(field.type) or _is_image_struct(field.type)]


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(part.name == "bytes" and _is_binary(part.type) for part in kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


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


def _split_of_file(path: Path, root: Path) -> Split | None:
    parts = path.relative_to(root).parts if path != root else (path.name,)
    splits = (split_of(re.split(r"[-._]", part)[0]) for part in reversed(parts))
    return next((split for split in splits if split), None)


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error})") from None
