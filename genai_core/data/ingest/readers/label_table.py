"""Tables of images and labels: CSV, TSV, JSONL or Parquet, one row per image."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.columns import FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, column_among
from genai_core.data.ingest.readers.items import split_of
from genai_core.data.raw.formats import IMAGE_EXTENSIONS, RejectedFile

TABLE_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# A table with one of these names holds labels even if the images are in class folders.
_LABEL_STEMS = ("labels", "metadata", "annotations")
_SAMPLED_ROWS = 100


@dataclass(frozen=True)
class Labelled:
    label: str
    split: Split | None


@dataclass(frozen=True)
class Row:
    number: int  # of the line or record, from 1, the header not counted
    file: str
    label: str
    split: Split | None


def find_table(folder: Path, *, is_flat: bool) -> Path | None:
    """Find the table of labels in a folder: the only table, or the one named labels, metadata or annotations.

    is_flat: the images are not in class folders; otherwise only a table with such a name counts. Raises ValueError when
    several tables are possible.
    """
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_EXTENSIONS and path.is_file())
    named = [path for path in tables if path.stem.lower() in _LABEL_STEMS]
    candidates = named or (tables if is_flat else [])
    if len(candidates) > 1:
        listed = ", ".join(path.name for path in candidates)
        raise ValueError(
            f"{folder}: several tables could hold the labels: {listed}; rename the right one to "
            f"labels{candidates[0].suffix}"
        )
    return candidates[0] if candidates else None


def read_table(path: Path) -> list[Row]:
    """Read the rows of a table. Raises ValueError, listing the columns, when the file or label column is not found."""
    columns, records = _records(path)
    file = column_among(columns, FILE_COLUMNS) or _column_of_image_names(columns, records)
    label = column_among([column for column in columns if column != file], LABEL_COLUMNS)
    split = column_among([column for column in columns if column not in (file, label)], SPLIT_COLUMNS)
    rest = [column for column in columns if column not in (file, split)]
    if file and not label and len(rest) == 1:
        label = rest[0]  # the only column left
    if file is None or label is None:
        lacking, known = ("file", FILE_COLUMNS) if file is None else ("label", LABEL_COLUMNS)
        raise ValueError(
            f"{path}: no {lacking} column among {', '.join(columns)}; expected one of {', '.join(known)}; rename "
            "one, or move the table away if it holds no labels"
        )
    return [
        Row(number, _text(record.get(file)), _text(record.get(label)), _split(path, number, record, split))
        for number, record in enumerate(records, start=1)
    ]


def match_rows(
    path: Path, rows: Sequence[Row], images: Sequence[str]
) -> tuple[dict[str, Labelled], list[RejectedFile]]:
    """Return each image's label, and what is rejected: rows without an image, images with no label or with two.

    A row names an image by its path, else by its file name, else by the name without extension, if that is unique.
    Raises ValueError when no row names an image.
    """
    find = _Finder(images)
    claims: dict[str, set[Labelled]] = {}
    rejected: list[RejectedFile] = []
    for row in rows:
        image = find(row.file)
        if image is None:
            rejected.append(
                RejectedFile(row.file or "(empty)", "missing_file", f"{path.name} row {row.number}: no such image")
            )
        else:
            claims.setdefault(image, set())
            if row.label:
                claims[image].add(Labelled(row.label, row.split))
    if not claims:
        first = rows[0].file if rows else "(no row)"
        raise ValueError(f"{path}: none of its {len(rows):,} rows names an existing image; the first: {first}")
    labelled: dict[str, Labelled] = {}
    for image in images:
        claimed = claims.get(image, set())
        if len(claimed) == 1:
            labelled[image] = next(iter(claimed))
        elif claimed:
            said = " and ".join(sorted(f"{one.label}{f' ({one.split})' if one.split else ''}" for one in claimed))
            rejected.append(RejectedFile(image, "two_labels", f"{path.name} says {said}"))
        else:
            why = "an empty label" if image in claims else "no row for it"
            rejected.append(RejectedFile(image, "no_label", f"{path.name} has {why}"))
    return labelled, rejected


class _Finder:
    """Find the image that a row names."""

    def __init__(self, images: Sequence[str]) -> None:
        self._paths = set(images)
        self._names: dict[str, str | None] = {}
        for image in images:
            path = PurePosixPath(image)
            for name in {path.name, path.stem}:
                # Ambiguous if two images have the same name.
                self._names[name] = None if name in self._names else image

    def __call__(self, file: str) -> str | None:
        path = file.replace("\\", "/").removeprefix("./")
        return path if path in self._paths else self._names.get(PurePosixPath(path).name)


def _records(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        if path.suffix.lower() == ".parquet":
            table = pq.read_table(path)
            return list(table.column_names), table.to_pylist()
        # read_text turns line ends into "\\n". str.splitlines would also split at U+2028, U+0085 and others, which are
        # text.
        text = path.read_text(encoding="utf-8-sig")
        return _from_jsonl(text) if path.suffix.lower() in (".jsonl", ".ndjson") else _from_csv(text, path)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8; save it as UTF-8") from None
    except (ValueError, csv.Error, pa.ArrowException, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or not a table ({error})") from None


def _from_csv(text: str, path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    columns = list(reader.fieldnames or [])
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"the header needs a unique name for every column, got {columns}")
    records: list[dict[str, Any]] = []
    for record in reader:
        if None in record:
            raise ValueError(f"row {len(records) + 1} has more values than the header has columns")
        records.append(dict(record))
    return columns, records


def _from_jsonl(text: str) -> tuple[list[str], list[dict[str, Any]]]:
    records = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not an object with a file and a label")
        columns.update(dict.fromkeys(record))
        records.append(record)
    return list(columns), records


def _column_of_image_names(columns: Sequence[str], records: Sequence[dict[str, Any]]) -> str | None:
    sample = records[:_SAMPLED_ROWS]
    fitting = [
        column for column in columns if sample and all(_is_image_name(_text(record.get(column))) for record in sample)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _is_image_name(value: str) -> bool:
    return PurePosixPath(value).suffix.lower() in IMAGE_EXTENSIONS


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integers in a column with gaps
    return str(value).strip()


def _split(path: Path, number: int, record: dict[str, Any], column: str | None) -> Split | None:
    if column is None:
        return None
    value = _text(record.get(column))
    split = split_of(value)
    if split is None and value:
        raise ValueError(f"{path} row {number}: {column} is {value!r}; expected train, test or validation")
    return split
