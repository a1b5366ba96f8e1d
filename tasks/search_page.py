"""Write the page of a search. Not a stage: `genai search` runs it.

`python -m tasks.search_page STUDY FOLDER` reads STUDY/samples and FOLDER/study.json; it writes FOLDER/report.html.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.reporting.page import Picture
from genai_core.reporting.search_page import SearchPage, render_search_page

REPORT = "../../reports/report.html"  # of the last run, as a link from the page
_SHOWN = 4  # trials whose samples are shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.search_page", description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        values = json.loads((arguments.folder / "study.json").read_text())
        created = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
        report = REPORT if (arguments.folder / REPORT).is_file() else None
        page = SearchPage(values, samples(arguments.study, values), created, report)
        (arguments.folder / "report.html").write_text(render_search_page(page), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"search_page: {error}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)


def samples(study: Path, values: dict[str, Any]) -> tuple[Picture, ...]:
    """Read the measured samples of the front, or of the trials with the smallest distances."""
    complete = [trial for trial in values["trials"] if trial["distance"] is not None]
    at_front = [trial for trial in complete if trial["number"] in values["front"]]
    ordered = sorted(at_front or complete, key=lambda trial: float(trial["distance"]))
    pictures = []
    for trial in ordered[:_SHOWN]:
        path = study / "samples" / f"{trial['number']}.png"
        if path.is_file():
            note = f"{values['metric']} {trial['distance']:.4g}"
            pictures.append(Picture(f"Trial {trial['number']}", path.read_bytes(), note))
    return tuple(pictures)


if __name__ == "__main__":
    main()
