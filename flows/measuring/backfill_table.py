"""What a backfill has measured: a file a version, so that one that was ended goes on; the table of all."""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from flows.json_file import write_json

BACKFILLS = Path(".genai/backfill")
TABLE = "quality.csv"


@dataclass(frozen=True)
class Row:
    """What one version of the data came to. tested_on: whose test images the model was measured against."""

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
    """Where the results of this code and subject are kept: other code may measure otherwise."""
    return root / BACKFILLS / hashlib.sha256(f"{code} {subject}".encode()).hexdigest()[:12]


def done(place: Path, raw: str) -> Row | None:
    """The result of a version, if it is there whole."""
    try:
        return Row(**json.loads((place / f"{raw}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def keep(place: Path, row: Row) -> None:
    write_json(place / f"{row.data}.json", asdict(row))


def write_table(out: Path, rows: Sequence[Row]) -> None:
    """quality.csv, a row a version, oldest first."""
    out.mkdir(parents=True, exist_ok=True)
    new = out / f".{TABLE}"
    with new.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    os.replace(new, out / TABLE)


def show(out: Path, say: Callable[[str], None]) -> None:
    """The table for a terminal."""
    if not (out / TABLE).is_file():
        return
    with (out / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    metric = rows[0]["metric"]
    say(f"{'data':<12}{'committed':<12}{'train':>9}{'test':>8}  {metric:>14}  interval")
    for row in rows:
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        say(
            f"{row['data'][:10]:<12}{row['committed'][:10]:<12}{int(row['train_images']):>9,}"
            f"{int(row['test_images']):>8,}  {value:>14.4g}  {low:.4g} to {high:.4g}"
        )
    say(f"\n{out / 'quality.html'}, quality.png and {TABLE} beside it")
