"""The command `genai backfill`."""

import signal
import sys
from dataclasses import asdict
from pathlib import Path

import click

from flows.json_output import json_option, print_json
from flows.prefect_log import quiet_prefect
from genai_core import GenaiError


@click.command()
@click.option("--revisions", required=True, metavar="A..B", help="Git revisions, as for git log, but including A.")
@click.option("--retrain", is_flag=True, help="Train on each version instead of measuring production on each.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("backfill"),
    show_default=True,
    help="Folder in the checkout for quality.csv, quality.png and quality.html.",
)
@json_option
@click.pass_obj
def backfill(workspace: Path, revisions: str, retrain: bool, out: Path, as_json: bool) -> None:
    """Measure quality on each version of the data in A..B.

    Each version has its own checkout. Without --retrain: measures production's images against each version's test
    images. With it: runs the pipeline, with today's code and parameters, on each version, and measures all candidates
    against the newest version's test images. An interrupted backfill continues where it stopped.
    """
    from flows.services.server import ensure_prefect_api

    quiet_prefect("WARNING")
    from flows.data.versions import data_versions

    data_versions(workspace, revisions)  # before a server starts: a mistyped revision fails at once
    ensure_prefect_api()
    from flows.measuring.backfill import backfill as flow
    from flows.measuring.backfill_table import INCOMPLETE, read_table, show

    state = flow(str(workspace), revisions, retrain=retrain, out=str(out), return_state=True)
    fault = None if state.is_completed() else state.result(raise_on_failure=False)
    if isinstance(fault, GenaiError):
        raise fault  # a user's error, which the command line prints as one line
    is_written = state.is_completed() or state.name == INCOMPLETE
    if is_written:  # otherwise the table is that of an earlier backfill
        show(workspace / out)
    error = None if state.is_completed() else f"{state.message}; run the command again to continue"
    if as_json:
        rows = read_table(workspace / out) if is_written else []
        values = {"out": str(workspace / out), "versions": [asdict(row) for row in rows]}
        print_json({**values, **({"error": error} if error else {})})
    if error:
        click.echo(click.style(error, fg="red"), err=True)
        sys.exit(128 + signal.SIGINT if state.is_cancelled() else 1)
