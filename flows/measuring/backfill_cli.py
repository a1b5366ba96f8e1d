"""The command `genai backfill`."""

import os
import signal
import sys
from pathlib import Path

import click


@click.command()
@click.option("--revisions", required=True, metavar="A..B", help="Git revisions, as for git log; A itself counts too.")
@click.option("--retrain", is_flag=True, help="Train on each version, instead of measuring production on each.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("backfill"),
    show_default=True,
    help="A folder of the checkout: quality.csv, quality.png and quality.html.",
)
@click.pass_obj
def backfill(workspace: Path, revisions: str, retrain: bool, out: Path) -> None:
    """Quality against data version: for every version of the data in A..B, in checkouts of their own.

    Without --retrain: production's images against each version's test images. With it: the pipeline, with today's code
    and parameters, on each version; all candidates against the newest version's test images. What is done is kept, so
    that a backfill that was interrupted goes on from there.
    """
    from flows.services.server import ensure_prefect_api

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from flows.data.versions import data_versions

    data_versions(workspace, revisions)  # before a server is started: it may be a slip of the pen
    ensure_prefect_api()
    from flows.measuring.backfill import backfill as flow
    from flows.measuring.backfill_table import show

    state = flow(str(workspace), revisions, retrain=retrain, out=str(out), return_state=True)
    show(workspace / out, click.echo)
    if not state.is_completed():
        click.echo(click.style(f"{state.message}; give the command again to go on", fg="red"), err=True)
        sys.exit(128 + signal.SIGINT if state.is_cancelled() else 1)
