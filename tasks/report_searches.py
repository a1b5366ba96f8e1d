"""Part of the report that links the pages of searches. They are no input: the report shows those that it finds."""

import json
import os
from pathlib import Path
from typing import Any

from genai_core.counted import counted
from genai_core.reporting.page import SearchLink

VARIABLE = "GENAI_SEARCHES"  # set by `genai run`: where the workspace has the pages, since a run has its own checkout
SEARCHES = Path("search")


def read_searches() -> tuple[SearchLink, ...]:
    """Read the studies of the workspace, the newest first. One that cannot be read is skipped."""
    folder = Path(os.environ.get(VARIABLE) or SEARCHES)
    found = []
    for path in folder.glob("*/study.json"):
        try:
            values = json.loads(path.read_text())
            link = SearchLink(values["study"], f"../{SEARCHES}/{path.parent.name}/report.html", _summary(values))
            found.append((path.stat().st_mtime, link))
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            continue
    return tuple(link for _, link in sorted(found, key=lambda pair: pair[0], reverse=True))


def _summary(values: dict[str, Any]) -> str:
    text = counted(len(values["trials"]), "trial")
    if values["best"] is None:
        return f"{text}, none complete"
    distance = next(trial["distance"] for trial in values["trials"] if trial["number"] == values["best"])
    return f"{text}; {values['metric']} {distance:.4g} with trial {values['best']}"
