"""Prefect artifacts of a run: progress, figures, pictures, the report."""

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

from flows.results import model_rows
from flows.view import describe_progress

_T = TypeVar("_T")

PROGRESS_INTERVAL_S = 2.0

FIGURES_HINT = "A smaller FD is better; the floor is the distance of real images from real images."

# Prefect stores Markdown artifacts in its database, so a larger picture gets no artifact.
MAX_PICTURE_BYTES = 400_000


class ProgressArtifact:
    """A stage's live progress: created with its first report, and updated at most every two seconds."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._id: UUID | None = None
        self._sent = -float("inf")
        self._latest: dict[str, Any] | None = None

    def show(self, state: dict[str, Any]) -> None:
        """Send a progress file's content, unless one was sent less than two seconds ago."""
        if not state.get("total"):
            return
        self._latest = state
        if time.monotonic() - self._sent >= PROGRESS_INTERVAL_S:
            self._send(state)

    def finish(self) -> None:
        """Send the last state that `show` skipped."""
        if self._latest is not None:
            self._send(self._latest)

    def _send(self, state: dict[str, Any]) -> None:
        self._sent = time.monotonic()
        self._latest = None
        percent = 100.0 * state["done"] / state["total"]
        text = f"{self._stage}: {describe_progress(state)}"
        if self._id is None:
            key = f"progress-{slug(self._stage)}"
            self._id = tried(lambda: cast("UUID", create_progress_artifact(percent, key=key, description=text)))
        else:
            artifact_id = self._id
            tried(lambda: update_progress_artifact(artifact_id, percent, description=text))


def publish_outputs(workspace: Path, stage: str) -> None:
    """Create artifacts from the stage's outputs: tables of figures, sample grids, the report's path."""
    tried(lambda: _publish(workspace, stage))


def _publish(workspace: Path, stage: str) -> None:
    name = stage.partition("@")[2] or stage
    if stage.startswith("evaluate"):
        model = "finetuned" if stage == "evaluate-finetuned" else f"trained/{name}"
        _publish_table(workspace, f"figures-{slug(model)}", only=model)
        publish_picture(workspace / "plots" / "evaluated" / model / "samples.png", f"samples-{slug(model)}", model)
    elif stage == "candidate":
        _publish_table(workspace, "figures", only=None)
    elif stage == "generate":
        publish_picture(workspace / "samples" / "batch" / "grid.png", "batch", "the generated batch")
    elif stage == "report":
        _publish_report(workspace)


def slug(name: str) -> str:
    """Return a valid key for Prefect: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _publish_table(workspace: Path, key: str, only: str | None) -> None:
    rows = [row for row in model_rows(workspace) if only in (None, row["model"])]
    if rows:
        tried(lambda: create_table_artifact(rows, key=key, description=FIGURES_HINT))


def publish_picture(path: Path, key: str, title: str) -> None:
    """Create an artifact of a picture, unless it is too large for Prefect's database."""
    picture = picture_in_markdown(path, title)
    if picture:
        markdown = f"### Images from {title}\n\n{picture}\n\n`{path}`"
        tried(lambda: create_markdown_artifact(markdown, key=key, description=f"Images from {title}"))


def picture_in_markdown(path: Path, title: str) -> str:
    """A picture as Markdown; empty if there is none, or if it is too large for Prefect's database."""
    if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
        return ""
    return f"![{title}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})"


def _publish_report(workspace: Path) -> None:
    path = workspace / "reports" / "report.html"
    selection = workspace / "models" / "candidate" / "selection.json"
    chosen = json.loads(selection.read_text()) if selection.is_file() else {}
    rows = model_rows(workspace)
    lines = ["## Report", "", f"Open `{path}` in a browser (browsers block links from this page to files).", ""]
    if chosen:
        lines += [f"Candidate: **{chosen['model']}**. {chosen['reason']}", ""]
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    tried(lambda: create_markdown_artifact("\n".join(lines), key="report", description="The run's report"))


def tried(make: Callable[[], _T]) -> _T | None:
    """Create an artifact, and only log errors: a server that does not answer must not fail a finished stage."""
    try:
        return make()
    except Exception as error:
        get_run_logger().warning("an artifact could not be written: %s", error)
        return None
