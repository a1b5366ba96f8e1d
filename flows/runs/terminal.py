"""A run at a terminal: what it will do, how it goes, and what came of it. Imports prefect only when a run begins."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flows.plan import Plan

EXIT_FAILED = 1


def quiet_prefect() -> None:
    """To be called before prefect is imported, which reads its settings once."""
    # The view shows it all; Prefect's console handler would print every line a second time.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reports usage, unless told not to


def run_flow(workspace: Path, stages: tuple[str, ...], plan: "Plan", resume: str | None = None) -> int:
    """Do what the plan says, or go on with a run, while a person looks on; the exit status.

    Prefect's API is known by then. Raises ConfigError and GraphError for what is found only once the flow has begun.
    """
    from flows.graph import GraphError
    from flows.interrupts import deferred_interrupt
    from flows.view import terminal_view
    from genai_core.config import ConfigError

    with deferred_interrupt():
        from flows.git import GitError
        from flows.runs.pipeline import pipeline
        from flows.runs.record import RunError, read_runs

    with terminal_view(plan):
        state = pipeline(str(workspace), list(stages), resume, return_state=True)
    if state.is_completed():
        own = [run for run in read_runs(workspace) if run.pid == os.getpid()]
        print_results(workspace, plan, own[-1].figures if own else None)
        return 0
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, (ConfigError, GraphError, GitError, RunError)):
        raise fault
    click.echo(click.style(f"\n{state.message}", fg="red"), err=True)
    return 128 + signal.SIGINT if state.is_cancelled() else EXIT_FAILED


def print_results(workspace: Path, plan: "Plan", measured: "tuple[dict[str, Any], ...] | None" = None) -> None:
    """The figures of the models that the plan's stages measure, and where the report is if it is one of them.

    measured: a run's own; None: those of the workspace.
    """
    from flows.results import measured_by, model_rows

    stages = {entry.stage for entry in plan.stages}
    known = measured if measured is not None else tuple(model_rows(workspace))
    rows = [row for row in known if measured_by(row["model"]) in stages]
    if rows:
        cells = [list(rows[0])] + [[str(value) for value in row.values()] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        click.echo()
        for row in cells:
            figures = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
            click.echo("  ".join([row[0].ljust(widths[0]), *figures]))
    report = workspace / "reports" / "report.html"
    if "report" in stages and report.is_file():
        click.echo(f"\nReport: {report}")


def headline(plan: "Plan") -> str:
    """How many stages there are, and what becomes of them."""
    parts = [f"{plan.count(action)} to {action}" for action in ("run", "restore", "keep") if plan.count(action)]
    return f"{len(plan.stages)} stages: {', '.join(parts)}"
