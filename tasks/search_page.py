"""Write the page of a search. Not a stage: `genai search` runs it.

`python -m tasks.search_page STUDY PAGE` reads STUDY/study.json and STUDY/samples; it writes PAGE.
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

_SHOWN = 4  # trials whose samples are shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.search_page", description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    try:
        values = json.loads((arguments.study / "study.json").read_text())
        page = SearchPage(values, samples(arguments.study, values), datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"))
        arguments.page.parent.mkdir(parents=True, exist_ok=True)
        arguments.page.write_text(render_search_page(page), encoding="utf-8")
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
