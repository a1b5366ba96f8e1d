"""A run at a terminal: what it will do, how it goes, and what came of it. Imports prefect only in `run_flow`."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genai_core import GenaiError

if TYPE_CHECKING:
    from flows.plan import Plan
    from flows.runs.begin import Begun
    from flows.runs.record import RunRecord

EXIT_FAILED = 1


def quiet_prefect() -> None:
    """To be called before prefect is imported, which reads its settings once."""
    # The view shows it all; Prefect's console handler would print every line a second time.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reports usage, unless told not to


def run_flow(begun: "Begun", resume: str | None) -> int:
    """Run the stages of a run that has begun, show them, and return the exit status. Needs Prefect's API to be set."""
    from flows.interrupts import deferred_interrupt
    from flows.runs.begin import handed_to_flow
    from flows.view import terminal_view

    with deferred_interrupt():
        from flows.runs.pipeline import pipeline

    plan = begun.decided.shown
    with terminal_view(plan), handed_to_flow(begun):
        state = pipeline(str(begun.root), list(begun.asked), resume, return_state=True)
    if state.is_completed():
        print_results(begun.root, plan, begun.started.recorder.record if begun.started else None)
        return 0
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, GenaiError):
        raise fault
    click.echo(click.style(f"\n{state.message}", fg="red"), err=True)
    return 128 + signal.SIGINT if state.is_cancelled() else EXIT_FAILED


def print_results(workspace: Path, plan: "Plan", run: "RunRecord | None" = None) -> None:
    """The figures of the models that were measured, and where the report is if it was made and is in the workspace.

    run: the run that has ended: its own figures. None where nothing had to run: the workspace's, of the plan's stages.
    """
    from flows.results import model_rows
    from flows.runs.record import DONE

    if run is not None:
        rows = list(run.figures)
        report = run.stages.get("report")
        has_report = report is not None and report.outcome in DONE and report.left is None
    else:
        stages = {entry.stage for entry in plan.stages}
        rows = model_rows(workspace, stages)
        has_report = "report" in stages
    if rows:
        cells = [list(rows[0])] + [[str(value) for value in row.values()] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        click.echo()
        for row in cells:
            figures = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
            click.echo("  ".join([row[0].ljust(widths[0]), *figures]))
    page = workspace / "reports" / "report.html"
    if has_report and page.is_file():
        click.echo(f"\nReport: {page}")


def headline(plan: "Plan") -> str:
    """How many stages there are, and what becomes of them."""
    parts = [f"{plan.count(action)} to {action}" for action in ("run", "restore", "keep") if plan.count(action)]
    return f"{len(plan.stages)} stages: {', '.join(parts)}"
