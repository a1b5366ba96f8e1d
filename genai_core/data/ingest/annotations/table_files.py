"""Read tables: CSV, TSV, JSONL, Parquet, and the plain lists of academic datasets."""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.convert.kinds import is_source_image
from genai_core.data.ingest.readers.items import split_in, split_of

TABLE_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# A table with one of these names holds labels even if the images are in class folders.
LABEL_STEMS = ("labels", "metadata", "annotations")
# Answers of a competition to be filled in, whose labels are placeholders, and lists of checksums.
_WITHOUT_LABELS = ("submission", "md5", "sha1", "sha256", "checksum")
_LIST_EXTENSIONS = (".txt", ".lst")
MAX_JSON_BYTES, _HEAD_BYTES = 64 << 20, 1 << 12
MOST_FILES = 20  # more JSON files or texts are one per image
# A list of objects, or an object whose first value is a text or a number: COCO's begins with another object.
_TABLE_IN_JSON = re.compile(rb'\s*(\[\s*\{|\{\s*"(?:[^"\\]|\\.)*"\s*:\s*["\d-])')
_DELIMITERS = ",;\t|"
_EXCELS_FIRST_LINE = re.compile(r'"?sep=([,;\t|])"?')  # which it writes and reads to name the delimiter


@dataclass(frozen=True)
class Table:
    """path: relative to the source's folder. columns: the values of each column, in row order; None where missing."""

    path: str
    columns: dict[str, list[Any]]
    total_rows: int

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem.lower()

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def split(self) -> Split | None:
        """The split that the table's name stands for: train.csv, trainLabels.csv."""
        return split_in(PurePosixPath(self.path).stem)

    def texts(self, column: str) -> list[str]:
        """Return the values of a column as text; empty for missing ones."""
        return [cell_text(value) for value in self.columns[column]]

    def distinct(self, column: str) -> set[str]:
        """Return the different values of a column without lists, as text: fast where few differ."""
        return {cell_text(value) for value in set(self.columns[column])}

    @property
    def is_plain(self) -> bool:
        """Whether all cells are texts, as in every text table but JSONL."""
        return not self.path.lower().endswith((".jsonl", ".ndjson", ".json", ".parquet"))


def is_table(path: str) -> bool:
    return path.lower().endswith(TABLE_EXTENSIONS)


def is_without_labels(path: str) -> bool:
    """Whether a file has no labels by its name, whatever is in it."""
    return any(word in PurePosixPath(path).name.lower() for word in _WITHOUT_LABELS)


def is_text(path: str) -> bool:
    return path.lower().endswith(_LIST_EXTENSIONS)


def is_list(path: str) -> bool:
    """Whether a text file may be a list of images by its name: train.txt, labels.txt, list_attr_celeba.txt."""
    file = PurePosixPath(path)
    stem = file.stem.lower()
    known = split_of(stem) is not None or stem.startswith("list_") or any(word in stem for word in ("attr", "token"))
    known = known or (split_in(stem) is not None and "annotations" in stem)  # val_annotations.txt of Tiny ImageNet
    return file.suffix.lower() in _LIST_EXTENSIONS and (known or stem in (*LABEL_STEMS, "captions", "results"))


def json_table(root: Path, path: str) -> Table | None:
    """Return a JSON file as a table: a list of objects, or an object of files with labels; None for any other JSON."""
    try:
        with (root / path).open("rb") as file:
            content = file.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
            if _TABLE_IN_JSON.match(content) is None or os.fstat(file.fileno()).st_size > MAX_JSON_BYTES:
                return None
            value = json.loads(content + file.read())
    except (ValueError, RecursionError, OSError):
        return None
    if isinstance(value, dict):
        value = [{"file": file, "label": label} for file, label in value.items()]
    if not isinstance(value, list) or not value or not all(isinstance(record, dict) for record in value):
        return None
    cells = (cell for record in value for one in record.values() for cell in (one if isinstance(one, list) else [one]))
    return None if any(isinstance(cell, (dict, list)) for cell in cells) else _from_records(value, path)


def read_table(root: Path, path: str) -> Table:
    """Read a table, in UTF-8 or in UTF-16 with its mark. Raises ValueError, naming the file, when it is damaged."""
    file = root / path
    try:
        if path.lower().endswith(".parquet"):
            table = pq.read_table(file)
            return Table(path, {name: table[name].to_pylist() for name in table.column_names}, table.num_rows)
        # read_text turns line ends into "\\n". str.splitlines would also split at U+2028, U+0085 and others, which are
        # text.
        with file.open("rb") as opened:
            is_utf16 = opened.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        text = file.read_text(encoding="utf-16" if is_utf16 else "utf-8-sig")
        if path.lower().endswith(_LIST_EXTENSIONS):
            return _from_list(text, path)
        return _from_jsonl(text, path) if path.lower().endswith((".jsonl", ".ndjson")) else _from_csv(text, path)
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)") from None
    except (ValueError, csv.Error, pa.ArrowException, RecursionError) as error:
        raise ValueError(f"{file}: damaged, or not a table ({error})") from None


def cell_text(value: Any) -> str:
    """Return a cell as text, empty if it is missing. Integers in a column with gaps are read as floats."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _from_csv(text: str, path: str) -> Table:
    header, _, rest = text.partition("\n")
    if (said := _EXCELS_FIRST_LINE.fullmatch(header)) is not None:
        delimiter, text = said[1], rest
    else:
        delimiter = "\t" if path.lower().endswith(".tsv") else max(_DELIMITERS, key=header.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if row]
    columns = [name.strip() for name in rows[0]] if rows else []
    if any(is_source_image(name.split("#")[0]) for name in columns):  # no header: the first row is an image
        columns = [f"column {number}" for number in range(1, len(columns) + 1)]
    else:
        rows = rows[1:]
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"the header needs a unique name for every column, got {columns}")
    return _table(path, columns, rows)


def _from_jsonl(text: str, path: str) -> Table:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is not an object with a file and a label")
            records.append(record)
    return _from_records(records, path)


def _from_records(records: Sequence[dict[str, Any]], path: str) -> Table:
    columns = {name: None for record in records for name in record}
    return Table(path, {name: [record.get(name) for record in records] for name in columns}, len(records))


def _from_list(text: str, path: str) -> Table:
    """Read a list: a name per line, a name and a value, CelebA's attributes, or a CSV under another ending."""
    header, _, rest = text.partition("\n")
    if any(sign in header for sign in _DELIMITERS):
        return _from_csv(text, path)
    if header.strip().isdecimal():  # the number of rows, then the names of the columns, then the rows
        names, _, rest = rest.partition("\n")
        return _table(path, ["file", *names.split()], [line.split() for line in rest.split("\n") if line.strip()])
    rows = [line.split() for line in text.split("\n") if line.strip()]
    stem = PurePosixPath(path).stem.lower()
    columns = ["file", "partition" if "partition" in stem else "label"]
    return _table(path, columns[: len(rows[0])] if rows else ["file"], rows)


def _table(path: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    values: list[list[Any]] = [[] for _ in columns]
    same: dict[str, str] = {}  # CelebA has 8 million cells with two different values
    total = 0
    for total, row in enumerate(rows, start=1):
        if len(row) > len(columns):
            raise ValueError(f"row {total} has more values than the header has columns")
        for index, column in enumerate(values):
            value = row[index] if index < len(row) else None
            column.append(same.setdefault(value, value) if value is not None and len(value) < 4 else value)
    return Table(path, dict(zip(columns, values, strict=True)), total)
