"""What a retraining says: to the log and the terminal as it goes, and to people when something came of it."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from flows.view import current_view
from flows.watching.notify import Event, notify
from genai_core.config import EventKind, NotifyConfig

LAST_FILE = Path(".genai/retrain/last.json")


def say(line: str) -> None:
    """One line, for who reads along."""
    get_run_logger().info(line)
    current_view().line("retrain", line)


def tell(kind: EventKind, title: str, text: str, facts: Mapping[str, str], config: NotifyConfig) -> None:
    """Notify whom `notify:` names. A message that fails is a warning."""
    for failure in notify(Event(kind, title, text, facts), config):
        get_run_logger().warning("not told: %s", failure)


def write_last(workspace: Path, values: Mapping[str, Any]) -> None:
    """What the last retraining came to, for scripts."""
    path = workspace / LAST_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({**values, "at": datetime.now(UTC).isoformat(timespec="seconds")}, indent=2) + "\n")
    os.replace(new, path)
