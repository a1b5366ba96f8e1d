"""The commands `genai run` and `genai runs resume`. They start the run before they load Prefect."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from flows.runs.terminal import headline, print_results, quiet_prefect, run_flow


@click.command()
@click.argument("stages", nargs=-1)
@click.pass_obj
def run(workspace: Path, stages: tuple[str, ...]) -> None:
    """Bring STAGES and all that they depend on up to date (default: the whole pipeline).

    A name such as `train` stands for all its branches (train@gan ...). Reports to the Prefect server in PREFECT_API_URL
    or the active profile, else to a temporary one. What is up to date is not run again; what failed goes on.
    """
    if sys.stderr.isatty():  # a person may be editing, and DVC takes a second to load
        click.echo("edits are part of this run until it prints `run ID works on a snapshot`", err=True)
    sys.exit(_run(workspace, stages))


@click.command()
@click.argument("run_id", metavar="ID")
@click.pass_obj
def resume(workspace: Path, run_id: str) -> None:
    """Go on with a run that did not complete, on its own snapshot: finished stages come from the cache, trainings go on
    from checkpoints.

    Results reach this checkout where its inputs are still those of the run. The end of an ID is enough.
    """
    sys.exit(_run(workspace, (), run_id))


def _run(workspace: Path, stages: tuple[str, ...], resume: str | None = None) -> int:
    """Run, or resume a run, and return the exit status. Raises GenaiError if the run cannot start."""
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.runs.begin import begin
        from flows.services.server import configured_server, ensure_prefect_api
        from flows.view import line_view

    server = configured_server()  # first: without its server a run does not start, and nothing is written
    with ExitStack() as stack:
        with line_view() as view:
            begun = stack.enter_context(begin(workspace, stages, resume, _warn))
            plan = begun.decided.shown
            if resume is None:
                view.note(headline(plan))
            for line in begun.notes:
                view.note(line)
        if begun.started is None and server is None:
            print_results(workspace, plan)
            return 0
        quiet_prefect()
        ensure_prefect_api()
        return run_flow(begun, resume)


def _warn(message: str) -> None:
    click.echo(message, err=True)
