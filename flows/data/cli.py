"""`genai data status`, `diff`, `push`, `pull` and `verify`: what the commands print."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flows.data.objects import OnProgress

EXIT_FAILED = 1
SHOWN_FAULTS = 20

_REMOTE = click.option("-r", "--remote", metavar="NAME", help="The DVC remote.  [default: DVC's default remote]")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/data.md describes the keys.")


@click.command()
@_REMOTE
@_JSON
@click.pass_obj
def status(workspace: Path, remote: str | None, as_json: bool) -> None:
    """Say what data there is: sources, versions, counts, and what is not tracked, committed, prepared or pushed yet."""
    from flows.data.status import status as look
    from flows.data.view import show, status_parts

    found = look(workspace, remote=remote)
    if as_json:
        click.echo(json.dumps({**asdict(found), "is_committed": found.is_committed}, indent=2))
    else:
        show(status_parts(found))


@click.command()
@click.argument("before", metavar="[A]", default="HEAD")
@click.argument("after", metavar="[B]", required=False)
@click.option("--distance/--no-distance", default=True, help="Measure how far the new images are from the old ones.")
@_REMOTE
@_JSON
@click.pass_obj
def diff(workspace: Path, before: str, after: str | None, distance: bool, remote: str | None, as_json: bool) -> None:
    """Compare two versions of the data: what was added, removed, relabelled, the class balance, the new ones' distance.

    A and B are git revisions, or the head of a version of the data: the hash that `data add` prints, or a fingerprint.
    A is HEAD by default, B the working tree.
    """
    from flows.data import diff as data_diff
    from flows.data.view import diff_parts, show

    found = data_diff.diff(workspace, before, after, distance=distance, remote=remote)
    if as_json:
        click.echo(json.dumps(data_diff.as_json(found), indent=2))
    else:
        show(diff_parts(found))


@click.command()
@_REMOTE
@click.option(
    "--to",
    "location",
    metavar="LOCATION",
    help="A folder or an address (s3://BUCKET/PATH): make it the default remote, then push.",
)
@click.option("--content", is_flag=True, help="Read what is there already, and send again what is damaged.")
@click.option("--run-cache", is_flag=True, help="Send the outputs of earlier runs, too.")
@click.pass_obj
def push(workspace: Path, remote: str | None, location: str | None, content: bool, run_cache: bool) -> None:
    """Send the data and the pipeline's outputs to a DVC remote, and check that all of it is there.

    What is sent is what data/raw.dvc and dvc.lock name. A push that was interrupted is simply given again.
    """
    from flows.data import remote as remotes
    from flows.data.stores import add_default_remote

    if location is not None:
        if remote is not None:
            raise click.UsageError("--to adds the default remote, -r chooses another one: give one of them")
        if add_default_remote(workspace, location):
            click.echo("the address has a secret: .dvc/config.local, which git ignores, has it; .dvc/config has it not")
    with _bar("send") as on_progress:
        done = remotes.push(workspace, remote, content=content, run_cache=run_cache, on_progress=on_progress)
    click.echo(
        f"{done.address}: all {done.objects:,} objects are there; "
        f"{done.sent:,} were sent ({done.sent_bytes / 1e6:,.1f} MB)"
        + (f", and {done.runs:,} entries of the run-cache" if run_cache else "")
    )


@click.command()
@_REMOTE
@click.option("--run-cache", is_flag=True, help="Fetch the outputs of earlier runs, too.")
@click.pass_obj
def pull(workspace: Path, remote: str | None, run_cache: bool) -> None:
    """Fetch the data and the pipeline's outputs of this revision from a DVC remote, and check them out.

    Everything that comes is compared with its hash before it is taken over. What the remote does not have is listed.
    """
    from flows.data import remote as remotes
    from flows.data.objects import describe_faults

    with _bar("fetch") as on_progress:
        done = remotes.pull(workspace, remote, run_cache=run_cache, on_progress=on_progress)
    click.echo(
        f"{done.address}: {done.fetched:,} of {done.objects:,} objects fetched ({done.fetched_bytes / 1e6:,.1f} MB)"
    )
    click.echo(f"changed here: {', '.join(done.changed) or 'nothing'}")
    if done.missing:
        click.echo(click.style(f"not at the remote: {describe_faults(done.missing)}", fg="red"), err=True)
        sys.exit(EXIT_FAILED)


@click.command()
@_REMOTE
@click.option("--content", is_flag=True, help="Read every object at the remote and compare its hash.")
@click.option("--rev", "revision", metavar="REV", help="A git revision instead of the working tree.")
@click.option("--all-commits", is_flag=True, help="All commits instead of the working tree.")
@_JSON
@click.pass_obj
def verify(
    workspace: Path, remote: str | None, content: bool, revision: str | None, all_commits: bool, as_json: bool
) -> None:
    """Check that a DVC remote holds every object that this revision needs. Changes nothing; exit status 1 if not."""
    from flows.data import remote as remotes

    with _bar("read") as on_progress:
        found = remotes.verify(
            workspace, remote, content=content, revision=revision, all_commits=all_commits, on_progress=on_progress
        )
    if as_json:
        click.echo(json.dumps({**asdict(found), "content_read": content}, indent=2))
    elif found.faults:
        click.echo(
            click.style(f"{found.address}: {len(found.faults):,} of {found.objects:,} objects are not right:", fg="red")
        )
        for fault in found.faults[:SHOWN_FAULTS]:
            click.echo(f"  {fault.path} ({fault.oid}): {fault.what}")
        if len(found.faults) > SHOWN_FAULTS:
            click.echo(f"  and {len(found.faults) - SHOWN_FAULTS:,} more (--json lists all)")
        click.echo(
            "genai data push" + (" --content" if content else "") + " sends them again from where they are whole"
        )
    else:
        how = "read and compared" if content else "there, by size (--content reads them)"
        click.echo(f"{found.address}: all {found.objects:,} objects are {how} ({found.size_bytes / 1e6:,.1f} MB)")
    if found.faults:
        sys.exit(EXIT_FAILED)


@contextmanager
def _bar(verb: str) -> Iterator["OnProgress"]:
    """A bar on a terminal; nothing elsewhere, nor while there is nothing to do."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(verb, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
