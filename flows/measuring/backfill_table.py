"""Results of a backfill: one file per data version, so that an interrupted backfill continues, and one table."""

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

import click

from flows.table import print_table
from flows.whole_file import write_json

BACKFILLS = Path(".genai/backfill")
TABLE = "quality.csv"
INCOMPLETE = "Incomplete"  # name of the state of a backfill that wrote the table without the versions that failed


@dataclass(frozen=True)
class Row:
    """The result of one data version. tested_on: the version whose test images the model was measured against."""

    data: str  # DVC's hash of data/raw
    commit: str
    committed: str
    train_images: int
    test_images: int
    model: str
    tested_on: str
    metric: str
    value: float
    low: float
    high: float


def place_of(root: Path, code: str, subject: str) -> Path:
    """Return the folder for results of this code and subject. With other code, results may differ."""
    return root / BACKFILLS / hashlib.sha256(f"{code} {subject}".encode()).hexdigest()[:12]


def done(place: Path, raw: str) -> Row | None:
    """Return the result of a version, or None if there is no complete one."""
    try:
        return Row(**json.loads((place / f"{raw}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def keep(place: Path, row: Row) -> None:
    """Write the result of a version."""
    write_json(place / f"{row.data}.json", asdict(row))


def write_table(out: Path, rows: Sequence[Row]) -> None:
    """Write quality.csv: one row per version, the oldest first."""
    out.mkdir(parents=True, exist_ok=True)
    new = out / f".{TABLE}"
    with new.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    os.replace(new, out / TABLE)


def read_table(out: Path) -> list[Row]:
    """Return the rows of quality.csv; none if there is no such file."""
    if not (out / TABLE).is_file():
        return []
    with (out / TABLE).open(newline="") as file:
        return [_row(values) for values in csv.DictReader(file)]


def show(out: Path) -> None:
    """Print the table to a terminal."""
    rows = read_table(out)
    if not rows:
        return
    cells = [
        (
            row.data[:10],
            row.committed[:10],
            f"{row.train_images:,}",
            f"{row.test_images:,}",
            f"{row.value:.4g}",
            f"{row.low:.4g} to {row.high:.4g}",
        )
        for row in rows
    ]
    print_table(cells, ("data", "committed", "train", "test", rows[0].metric, "interval"), right={2, 3, 4})
    click.echo(f"\nWritten: {out / 'quality.html'}, quality.png, {TABLE}")


def _row(values: dict[str, str]) -> Row:
    types = get_type_hints(Row)
    return Row(**{name: types[name](text) for name, text in values.items()})
