"""A retraining's messages: log lines, notifications, and the last result for scripts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from flows.view import current_view
from flows.watching.notify import Event, notify
from flows.whole_file import write_json
from genai_core.config import EventKind, NotifyConfig

LAST_FILE = Path(".genai/retrain/last.json")


def log(line: str) -> None:
    """Write one line to Prefect's log and to the terminal."""
    get_run_logger().info(line)
    current_view().line("retrain", line)


def send(kind: EventKind, title: str, text: str, facts: Mapping[str, str], config: NotifyConfig) -> None:
    """Send a notification to the recipients in `notify:`. Failures are logged as warnings."""
    for failure in notify(Event(kind, title, text, facts), config):
        get_run_logger().warning("notification not sent: %s", failure)


def write_last(workspace: Path, values: Mapping[str, Any]) -> None:
    """Write the result of the last retraining, for scripts."""
    write_json(workspace / LAST_FILE, {**values, "at": datetime.now(UTC).isoformat(timespec="seconds")})
