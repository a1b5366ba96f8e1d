"""Parquet datasets that contain their images, as Hugging Face's `datasets` writes them (embedded_images.py)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.ingest.readers.embedded_images import (
    SAMPLED_ROWS,
    find_columns,
    image_columns,
    item_of_row,
    text_columns,
)
from genai_core.data.ingest.readers.items import Item, Reading, join_readings, split_in_path

PARQUET_EXTENSIONS = (".parquet",)
_BATCH_ROWS = 256
_DAMAGED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)


def holds_images(path: Path) -> bool:
    """Whether a Parquet file has a column of image bytes; otherwise it may be a table of labels."""
    return bool(image_columns(_schema(path)))


def read_parquet(files: Sequence[Path], root: Path) -> Reading:
    """Read the images of all files, named <file>-<row>.

    The split comes from a file's name or its folder below `root` (train-00000-of-00002.parquet, test/0.parquet), or
    from a column.
    """
    return join_readings([_read_file(path, root) for path in files])


def _read_file(path: Path, root: Path) -> Reading:
    schema = _schema(path)
    columns = find_columns(str(path), schema, _sampled_texts(path, schema))
    split = split_in_path(path, root)
    stem = "-".join(path.relative_to(root).with_suffix("").parts) if path != root else path.stem
    understood = replace(columns.understood, layout="Parquet with images")
    if split and not columns.split:
        understood = replace(understood, split="names of the files")
    splits = None if columns.split else frozenset({split})
    reading = Reading((), pq.read_metadata(path).num_rows, understood=understood, splits=splits)

    def items() -> Iterator[Item]:
        try:
            with pq.ParquetFile(path) as file:
                index = 0
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns.wanted):
                    for row in batch.to_pylist():
                        item = item_of_row(row, columns, f"{stem}-{index:06d}", split, reading.rejected)
                        if item:
                            yield item
                        index += 1
        except _DAMAGED as error:
            raise ValueError(f"{path}: damaged ({error}); download it again") from None

    reading.items = items()
    if columns.label is None:
        reading.notes.append(f"{path.name}: no label column ({', '.join(schema.names)}), its images have no class")
    return reading


def _sampled_texts(path: Path, schema: pa.Schema) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    try:
        for column in text_columns(schema):
            with pq.ParquetFile(path) as file:
                batch = next(file.iter_batches(batch_size=SAMPLED_ROWS, columns=[column]), None)
            values = batch.column(0).to_pylist() if batch is not None else []
            texts[column] = [value for value in values if value]
    except _DAMAGED as error:
        raise ValueError(f"{path}: damaged ({error}); download it again") from None
    return texts


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except _DAMAGED as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error})") from None
