"""The commands about runs: `genai runs`, `genai status`, `genai logs`."""

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.completion import completing, stage_names
from flows.json_output import json_option, print_json
from flows.table import print_table

if TYPE_CHECKING:
    from flows.runs.record import RunRecord, StageRecord

_FOLLOW_POLL_S = 0.3


def known_runs(workspace: Path) -> Iterable[str]:
    """Return the ids of all runs, for shell completion."""
    return sorted(path.parent.name for path in (workspace / ".genai" / "runs").glob("*/run.json"))


def resumable_runs(workspace: Path) -> Iterable[str]:
    """Return the ids of the runs that did not complete, for shell completion."""
    records = {run: workspace / ".genai" / "runs" / run / "run.json" for run in known_runs(workspace)}
    return [run for run, path in records.items() if json.loads(path.read_text())["state"] != "completed"]


_ID = click.argument("run_id", metavar="ID", shell_complete=completing(known_runs))


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def runs(context: click.Context, as_json: bool) -> None:
    """List runs: start, state, stages, metrics, uncommitted changes.

    \b
    genai runs show ID      show one run, stage by stage
    genai runs resume ID    resume a run that was stopped, killed or failed, on its own snapshot
    genai runs stop ID      stop a running run; its finished stages are kept
    """
    if context.invoked_subcommand is not None:
        return
    from flows.runs.record import read_runs

    found = read_runs(context.obj)
    if as_json:
        print_json([_values(run) for run in found])
        return
    if not found:
        click.echo("no runs yet; `genai run` starts one")
        return
    head = ["id", "started", "state", "stages", "smallest FD", "snapshot of"]
    print_table([_row(run) for run in found], head, right={4})


@runs.command("show")
@_ID
@json_option
@click.pass_obj
def show(workspace: Path, run_id: str, as_json: bool) -> None:
    """Show one run: its snapshot, stages and metrics. The end of an ID is enough."""
    from flows.git import printable
    from flows.runs.record import find_run
    from flows.runs.terminal import print_figures

    run = find_run(workspace, run_id)
    if as_json:
        print_json(_values(run))
        return
    click.echo(f"run {run.id}: {run.state}{f', {run.message}' if run.message else ''}")
    times = [("started", run.began), ("resumed", run.resumed), ("ended", run.ended)]
    click.echo(", ".join(f"{what} {_local(moment)}" for what, moment in times if moment))
    click.echo(f"snapshot {run.snapshot[:10]} of {_source(run)}: git show {run.snapshot[:10]}")
    for path in run.changed:
        click.echo(f"  differs: {printable(path)}")
    if run.stages:
        click.echo()
        rows = [_stage_row(name, stage) for name, stage in run.stages.items()]
        print_table(rows, ["stage", "", "seconds", ""], right={2})
    if run.figures:
        click.echo()
        print_figures(run.figures)


@runs.command("stop")
@_ID
@click.pass_obj
def stop(workspace: Path, run_id: str) -> None:
    """Stop a run. Its stages save checkpoints, so that it can be resumed."""
    from flows.runs.record import RUNS, STOP, RunError, find_run, how_to_resume, is_held

    run = find_run(workspace, run_id)
    folder = workspace / RUNS / run.id
    if run.state != "running":
        raise RunError(f"run {run.id} is not running; its state is {run.state}")
    (folder / STOP).touch()
    deadline = time.monotonic() + 30.0
    while is_held(folder):
        if time.monotonic() > deadline:
            raise RunError(
                f"run {run.id} (process {run.pid}) was asked to stop, but is still running after 30 s; "
                "`genai status` shows its stages"
            )
        time.sleep(0.1)
    click.echo(f"stopped {run.id}; {how_to_resume(run)}")


@click.command()
@json_option
@click.pass_obj
def status(workspace: Path, as_json: bool) -> None:
    """Show what is running here, since when, and its progress."""
    from flows.runs.record import read_runs
    from flows.workspace import is_alive, lock_owner

    found = read_runs(workspace)
    alive = [run for run in found if run.state == "running"]
    if as_json:
        print_json([{**_values(run), "progress": _progress_of(workspace, run)} for run in alive])
        return
    for run in alive:
        if not is_alive(str(run.pid)):
            click.echo(f"run {run.id}: its process {run.pid} was killed; its other processes are ending")
            continue
        click.echo(
            f"run {run.id}: running for {_since(run.resumed or run.began)} (process {run.pid}), on {_source(run)}"
        )
        done = [name for name, stage in run.stages.items() if stage.outcome not in ("running", "failed", "stopped")]
        click.echo(f"  {len(set(done) & set(run.planned))} of {len(run.planned)} stages done")
        progress = _progress_of(workspace, run)
        for name, stage in run.stages.items():
            if stage.outcome == "running":
                click.echo(f"  {name}: for {_since(stage.began)}{_progress_suffix(progress.get(name))}")
    retraining = lock_owner(workspace, "retraining")
    if retraining and not any(run.place for run in alive):
        click.echo(f"a retraining is running (process {retraining}), at present without a run")
    if not alive and not retraining:
        click.echo("nothing is running here")
        if found:
            last = found[-1]
            click.echo(f"last run {last.id}: {last.state}{f', {last.message}' if last.message else ''}")


@click.command()
@click.argument("stage", required=False, shell_complete=completing(stage_names))
@click.option("--run", "run_id", metavar="ID", help="[default: the last run]", shell_complete=completing(known_runs))
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the run ends.")
@click.pass_obj
def logs(workspace: Path, stage: str | None, run_id: str | None, follow: bool) -> None:
    """Print the logs of STAGE, or of all stages, of one run. A name such as `train` stands for all its branches.

    A run has no log of a stage that it kept. `genai runs` lists earlier runs.
    """
    from flows.runs.record import RUNS, RunError, find_run, is_held, logged_stages, read_runs

    found = read_runs(workspace)
    if run_id is None and not found:
        raise RunError("no runs yet; `genai run` starts one")
    run = find_run(workspace, run_id) if run_id is not None else found[-1]
    folder = workspace / RUNS / run.id
    known = sorted(logged_stages(folder))
    if stage is not None and not any(_matches(stage, name) for name in known) and not (follow and is_held(folder)):
        others = [
            other.id
            for other in found
            if any(_matches(stage, name) for name in logged_stages(workspace / RUNS / other.id))
        ]
        hint = f"; the newest log of it: genai logs {stage} --run {others[-1]}" if others else ""
        raise RunError(f"run {run.id} has no log of {stage!r}; it has logs of: {', '.join(known) or 'no stage'}{hint}")
    printed: dict[str, int] = {}  # how far each file was read
    while True:
        alive = is_held(folder)
        for name, path in logged_stages(folder).items():
            if stage is not None and not _matches(stage, name):
                continue
            with path.open(errors="replace") as file:
                file.seek(printed.get(name, 0))
                for line in file:
                    click.echo(f"{name:<18} {line.rstrip()}" if name != stage else line.rstrip("\n"))
                printed[name] = file.tell()
        if not (follow and alive):
            return
        time.sleep(_FOLLOW_POLL_S)


def _matches(asked: str, stage: str) -> bool:
    """Whether a name means this stage: `train` stands for train@gan, as in `genai run`."""
    return asked in (stage, stage.partition("@")[0])


def _values(run: "RunRecord") -> dict[str, Any]:
    from dataclasses import asdict

    from flows.runs.terminal import measured_or_null

    return {**asdict(run), "figures": measured_or_null(run.figures)}


def _row(run: "RunRecord") -> list[str]:
    outcomes = [stage.outcome for stage in run.stages.values()]
    counted = [f"{outcomes.count(name)} {name}" for name in ("ran", "restored", "failed") if name in outcomes]
    distances = [row["FD"] for row in run.figures if isinstance(row.get("FD"), float)]
    left = sum(stage.left is not None for stage in run.stages.values())
    counted += [f"{left} only in the cache"] if left else []
    if not outcomes and run.state not in ("running", "completed"):
        counted = ["none began"]
    return [run.id, _local(run.began), run.state, ", ".join(counted), str(min(distances, default="")), _source(run)]


def _source(run: "RunRecord") -> str:
    from flows.git import printable

    where = run.place or run.branch or run.snapshot[:7]
    if not run.changed:
        return where
    more = f" and {len(run.changed) - 2} more" if len(run.changed) > 2 else ""
    return f"{where}, with uncommitted {', '.join(map(printable, run.changed[:2]))}{more}"


def _stage_row(name: str, stage: "StageRecord") -> list[str]:
    notes = [f"on {stage.machine['host']}"] if stage.machine else []
    notes += [f"only in DVC's cache: {stage.left}"] if stage.left else []
    return [name, stage.outcome, f"{stage.seconds:.1f}" if stage.seconds else "", "; ".join(notes)]


def _progress_of(workspace: Path, run: "RunRecord") -> dict[str, Any]:
    from flows.git import prefix_of
    from flows.runs.record import CHECKOUT, RUNS

    # A checkout contains the whole repository.
    own = workspace / RUNS / run.id / CHECKOUT / prefix_of(workspace)
    place = workspace / run.place if run.place else own
    found = {}
    for path in (place / ".genai" / "progress").glob("*.json"):
        try:
            found[path.stem] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
    return found


def _progress_suffix(state: dict[str, Any] | None) -> str:
    from flows.view import describe_progress

    return f", {describe_progress(state)}" if state and state.get("total") else ""


def _local(moment: str) -> str:
    """Local time, as in the runs' ids."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def _since(moment: str) -> str:
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
