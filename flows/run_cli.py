"""The commands `genai plan`, `genai run` and `genai runs resume`. A run starts before Prefect is loaded."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.completion import completing, stage_names
from flows.json_output import json_option, print_json
from flows.prefect_log import quiet_prefect
from flows.runs.cli import resumable_runs
from flows.runs.terminal import headline, print_results, run_flow, run_values
from flows.table import print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.plan import Plan
    from flows.runs.run_plan import RunPlan

MOST_REASONS = 3
COLOURS = {"run": "green", "restore": "cyan", "keep": ""}

_STAGES = click.argument("stages", nargs=-1, shell_complete=completing(stage_names))


@click.command()
@_STAGES
@json_option
@click.pass_obj
def plan(workspace: Path, stages: tuple[str, ...], as_json: bool) -> None:
    """Show what `genai run STAGES` would do with each stage, and why.

    Changes nothing in the checkout. DVC caches the hashes that it computes, in its own folders.
    """
    result = _planned(workspace, stages)
    from flows.advising.checks import estimate_lines, estimates, findings, graph_of, shown_estimate

    graph = graph_of(workspace)
    found, seconds = findings(workspace, result, graph), estimates(workspace, result, graph)
    for finding in found:
        _warn(click.style(finding.text, fg="red" if finding.is_fatal else "yellow"))
    if as_json:
        print_json(
            [
                {"stage": s.stage, "action": s.action, "reasons": list(s.reasons), "seconds": seconds.get(s.stage)}
                for s in result.stages
            ]
        )
        return
    from rich.text import Text

    rows = []
    for entry in result.stages:
        shown = list(entry.reasons[:MOST_REASONS])
        if len(entry.reasons) > MOST_REASONS:
            shown.append(f"and {len(entry.reasons) - MOST_REASONS} more (--json lists all)")
        time = (shown_estimate(seconds[entry.stage]) if entry.stage in seconds else "",) if seconds else ()
        rows.append((entry.stage, Text(f"{entry.action:<7}", COLOURS[entry.action]), *time, "\n".join(shown)))
    print_table(rows, right={2} if seconds else set())
    for line in result.replaced:
        click.echo(click.style(line, fg="yellow"))
    click.echo(headline(result))
    for line in estimate_lines(workspace, seconds, graph):
        click.echo(line)


def executor_option(default: str) -> "Callable[[Any], Any]":
    """The option --executor of a command."""
    return click.option(
        "--executor",
        type=click.Choice(["local", "pool", "ray", "dask", "slurm"]),
        help="Who runs the stages: this machine, workers of Prefect work pools, or the machines of a Ray, Dask or "
        f"Slurm cluster (docs/machines.md).  [default: {default}]",
    )


_EXECUTOR = executor_option("compute.executor; of a resumed run, the one before")


@click.command()
@_STAGES
@_EXECUTOR
@click.option(
    "--resume",
    "run_id",
    metavar="ID",
    shell_complete=completing(resumable_runs),
    help="Resume a run that did not complete, instead of starting one. This may be another machine than the one where "
    "it began.",
)
@json_option
@click.pass_obj
def run(workspace: Path, stages: tuple[str, ...], executor: str | None, run_id: str | None, as_json: bool) -> None:
    """Bring STAGES and all that they depend on up to date.

    Default: the whole pipeline. A name such as `train` stands for all its branches (train@gan ...). The run reports to
    the Prefect server in PREFECT_API_URL or in the active profile, otherwise to a temporary one. Stages that are up to
    date are kept. Interrupted trainings resume from their checkpoints.
    """
    if run_id is not None and stages:
        raise click.UsageError("--resume continues the stages that the run was asked for; leave out STAGES")
    if run_id is None and sys.stderr.isatty():  # the user may still be editing while DVC loads for a second
        click.echo("until it prints `run ID works on a snapshot`, your edits become part of this run", err=True)
    sys.exit(run_stages(workspace, stages, run_id, executor=executor, as_json=as_json))


@click.command()
@click.argument("run_id", metavar="ID", shell_complete=completing(resumable_runs))
@_EXECUTOR
@json_option
@click.pass_obj
def resume(workspace: Path, run_id: str, executor: str | None, as_json: bool) -> None:
    """Resume a run that did not complete, on its own snapshot. `genai run --resume ID` does the same.

    Finished stages come from the cache, and trainings resume from checkpoints. A result reaches this checkout if the
    stage's inputs are still the same. The end of an ID is enough. A run that this checkout does not know is taken over
    from the git remote, if it used other machines.
    """
    sys.exit(run_stages(workspace, (), run_id, executor=executor, as_json=as_json))


def _planned(workspace: Path, stages: tuple[str, ...]) -> "Plan":
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.plan import plan_of
        from flows.workspace import check_lock_file, checked_config

    checked_config(workspace)
    check_lock_file(workspace)
    return plan_of(workspace, stages)


def run_stages(
    workspace: Path,
    stages: tuple[str, ...],
    resume: str | None = None,
    *,
    executor: str | None = None,
    as_json: bool = False,
) -> int:
    """Run, or resume a run, and return the exit status. Raises GenaiError if the run cannot start.

    executor: None: as before if it is resumed, else `compute.executor` in params.yaml.
    """
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.runs.prepared_run import prepare_run
        from flows.services.server import configured_server, ensure_prefect_api
        from flows.view import line_view
        from genai_core.config import PARAMS_FILE, load_config

    server = configured_server()  # first: if the server does not answer, the run must not start or write anything
    if executor is None and resume is None and (workspace / PARAMS_FILE).is_file():
        executor = load_config(workspace / PARAMS_FILE).compute.executor
    check_executor(executor, server)
    with ExitStack() as stack:
        with line_view() as view:
            prepared = stack.enter_context(
                prepare_run(workspace, stages, resume, _warn, checked_plan(workspace, executor), executor)
            )
            plan = prepared.run_plan.shown
            if resume is None:
                view.note(headline(plan))
            for line in prepared.notes:
                view.note(line)
        if resume is not None and executor is None and prepared.active is not None:
            check_executor(prepared.active.recorder.record.executor, server)
        if prepared.active is None and server is None:
            print_results(workspace, plan)
            if as_json:
                print_json(run_values(workspace, plan))
            return 0
        quiet_prefect()
        ensure_prefect_api(server)
        return run_flow(prepared, resume, executor, as_json=as_json)


def check_executor(executor: str | None, server: object) -> None:
    """Raise ConfigError if its library is not installed, or its workers could not reach the server."""
    from flows.executors.installed import check_installed
    from genai_core.config import ConfigError

    if executor is not None:
        check_installed(executor)
    if executor == "pool" and server is None:
        raise ConfigError(
            "executor pool needs a Prefect server that the workers reach, too; start one (prefect server start, or "
            "genai up) and set PREFECT_API_URL here and for the workers"
        )


def checked_plan(workspace: Path, executor: str | None) -> "Callable[[RunPlan], None]":
    """Return a function that prints warnings about a plan.

    It raises ConfigError if a stage would fail, or if the executor cannot run it.
    """

    def check(run_plan: "RunPlan") -> None:
        from flows.advising.checks import check

        if executor is not None and run_plan.may_run:
            from flows.executors.preflight import check_executable

            check_executable(executor, workspace, run_plan.may_run)
        for warning in check(workspace, run_plan.plan, run_plan.graph):
            _warn(f"note: {warning}")

    return check


def _warn(message: str) -> None:
    click.echo(message, err=True)
