"""Draw FOLDER/quality.csv of `genai backfill` as quality.png and quality.html. Not a stage."""

import argparse
import csv
import sys
from pathlib import Path

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.reporting.trend import Point, trend_page, trend_png

COLUMNS = ("value", "low", "high")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.trend", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        with (folder / "quality.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        points = [
            Point(f"{row['data'][:7]}\n{row['committed'][:10]}", *(float(row[name]) for name in COLUMNS))
            for row in rows
        ]
        if not points:
            raise ValueError(f"{folder}/quality.csv: has no rows")
        metric = rows[0]["metric"]
    except KeyError as error:
        print(f"trend: {folder}/quality.csv: has no column {error}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)
    except (OSError, ValueError) as error:
        print(f"trend: {error}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)
    trend_png(points, metric, folder / "quality.png")
    (folder / "quality.html").write_text(trend_page(rows, folder / "quality.png"))


if __name__ == "__main__":
    main()
