"""Print a run at a terminal: its plan, its progress and its results. Only `run_flow` imports prefect."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from flows.json_output import print_json
from flows.table import print_table
from genai_core import GenaiError
from genai_core.counted import counted

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from flows.plan import Plan
    from flows.runs.prepared_run import PreparedRun
    from flows.runs.record import RunRecord

EXIT_FAILED = 1
REPORT = Path("reports/report.html")


def run_flow(prepared: "PreparedRun", resume: str | None, executor: str | None = None, *, as_json: bool = False) -> int:
    """Run the stages of a prepared run, show them, and return the exit status. Needs Prefect's API to be set."""
    from flows.interrupts import deferred_interrupt
    from flows.runs.prepared_run import handed_to_flow
    from flows.view import terminal_view

    with deferred_interrupt():
        from flows.runs.pipeline import pipeline
        from flows.runs.server_away import begun

    def flow() -> "State[None]":
        return cast(
            "State[None]",
            pipeline(str(prepared.root), list(prepared.asked), resume, executor, return_state=True),
        )

    def has_begun() -> bool:  # the flow records its end, also if it fails
        return prepared.active is not None and prepared.active.recorder.record.state != "running"

    plan = prepared.run_plan.shown
    with terminal_view(plan) as view, handed_to_flow(prepared):
        state = begun(flow, has_begun, view.note)
    record = prepared.active.recorder.record if prepared.active else None
    if state.is_completed():
        print_results(prepared.root, plan, record)
        if as_json:
            print_json(run_values(prepared.root, plan, record))
        return 0
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, GenaiError):
        raise fault
    message = state.message or "the run failed"
    click.echo(click.style(f"\n{message}", fg="red"), err=True)
    if as_json:
        print_json({**run_values(prepared.root, plan, record), "error": message})
    return 128 + signal.SIGINT if state.is_cancelled() else EXIT_FAILED


def run_values(workspace: Path, plan: "Plan", run: "RunRecord | None" = None) -> dict[str, Any]:
    """Return what `--json` prints of a run. run: None if nothing had to run, so that every stage was kept."""
    rows, report = _results(workspace, plan, run)
    if run is not None:
        stages = {name: asdict(stage) for name, stage in run.stages.items()}
    else:
        kept = {"outcome": "kept", "began": None, "seconds": 0.0, "left": None, "machine": None}
        stages = {entry.stage: dict(kept) for entry in plan.stages}
    return {
        "run": run.id if run else None,
        "state": run.state if run else "completed",
        "snapshot": run.snapshot if run else None,
        "stages": stages,
        "figures": measured_or_null(rows),
        "report": str(report) if report else None,
    }


def measured_or_null(rows: "list[dict[str, Any]] | tuple[dict[str, Any], ...]") -> list[dict[str, Any]]:
    """Return rows of figures for JSON: null where a table for people shows "-"."""
    return [{name: None if value == "-" else value for name, value in row.items()} for row in rows]


def print_results(workspace: Path, plan: "Plan", run: "RunRecord | None" = None) -> None:
    """Print the figures of the measured models, and the report's path if the run made one in the workspace.

    run: the run that has ended; its own figures are printed. None if nothing had to run: the workspace's figures.
    """
    rows, report = _results(workspace, plan, run)
    if rows:
        click.echo()
        print_figures(rows)
        click.echo("FD/floor compares equal numbers of images; it is not the quotient of the two columns")
    if report:
        click.echo(f"\nReport: {report}")


def print_figures(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of figures with the same columns: the model, then numbers."""
    cells = [[str(value) for value in row.values()] for row in rows]
    print_table(cells, list(rows[0]), right=range(1, len(rows[0])))


def headline(plan: "Plan") -> str:
    """Return the number of stages, and how many of them run, are restored and are kept."""
    parts = [f"{plan.count(action)} to {action}" for action in ("run", "restore", "keep") if plan.count(action)]
    return f"{counted(len(plan.stages), 'stage')}: {', '.join(parts)}"


def _results(workspace: Path, plan: "Plan", run: "RunRecord | None") -> tuple[list[dict[str, Any]], Path | None]:
    """Rows of figures, and the report if it belongs to them."""
    from flows.results import model_rows
    from flows.runs.record import DONE

    if run is not None:
        rows = list(run.figures)
        stage = run.stages.get("report")
        has_report = stage is not None and stage.outcome in DONE and stage.left is None
    else:
        stages = {entry.stage for entry in plan.stages}
        rows = model_rows(workspace, stages)
        has_report = "report" in stages
    page = workspace / REPORT
    return rows, page if has_report and page.is_file() else None
