"""The commands `genai data add`, `remove`, `status`, `diff`, `push`, `pull` and `verify`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.json_output import json_option, print_json
from flows.progress_bar import progress_bar
from genai_core.config.source_layouts import SOURCE_LAYOUTS
from genai_core.counted import counted

if TYPE_CHECKING:
    from flows.data.add import TrackedData

EXIT_FAILED = 1
SHOWN_FAULTS = 20

_REMOTE = click.option("-r", "--remote", metavar="NAME", help="The DVC remote.  [default: DVC's default remote]")


@click.group()
def data() -> None:
    """Add, remove, compare and share the images."""


@data.command()
@click.argument("source")
@click.option("--as", "name", help="Name of the folder below data/raw.  [default: the source's name]")
@click.option(
    "--layout",
    type=click.Choice([*SOURCE_LAYOUTS]),
    help="What the folders and files mean: "
    + "; ".join(f"{layout}: {meaning}" for layout, meaning in SOURCE_LAYOUTS.items())
    + ".  [default: what is found]",
)
@click.option("--label-column", metavar="COLUMN", help="The table's column with the classes; A,B combines two.")
@click.option("--caption-column", metavar="COLUMN", help="The table's column with the captions.")
@click.option(
    "--split/--no-split",
    default=None,
    help="Insist on the source's own train and test split, or give it up: all images are pooled, but split folders "
    "above the classes are taken as classes, unless --layout says otherwise.  [default: keep one that is found]",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take each N-th frame of videos, animations and DICOM files.",
)
@json_option
@click.pass_obj
def add(
    workspace: Path,
    source: str,
    name: str | None,
    layout: str | None,
    label_column: str | None,
    caption_column: str | None,
    split: bool | None,
    every: int | None,
    as_json: bool,
) -> None:
    """Pack the images of SOURCE into data/raw and track them with DVC.

    SOURCE is a folder (class subfolders, or flat, with or without a CSV, JSONL or Parquet table of labels), a zip, tar
    or tar.gz of one, IDX files, .npy or .npz, CIFAR's batches, a Parquet dataset with images, a WebDataset tar, a
    StyleGAN zip, Arrow, HDF5, SVHN, LMDB or TFRecord files, a video with --every, builtin:digits, or an address:
    https://, s3:// ..., dvc://REPOSITORY#PATH. A second call appends. See docs/data.md.

    Prints what it understood: the layout, and where labels, split and captions come from. If that can mean several
    things, nothing is added, and the message names the option that decides.
    """
    from flows.data.add import AddOptions, add

    added = add(workspace, source, name, AddOptions(layout, label_column, caption_column, split, every))
    if as_json:
        print_json({**added.facts, "version": asdict(added.version)})
    else:
        _print_version(added.version)


@data.command()
@click.argument("name")
@click.argument("patterns", nargs=-1)
@click.option(
    "--list",
    "list_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with one name or glob per line.",
)
@click.option("--all", "takes_all", is_flag=True, help="Remove all of NAME; without patterns.")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.pass_obj
def remove(
    workspace: Path, name: str, patterns: tuple[str, ...], list_file: Path | None, takes_all: bool, dry_run: bool
) -> None:
    """Remove images from data/raw/NAME, and track the rest with DVC.

    PATTERNS are names as the manifest has them, CLASS/file, or globs: 'hat/*' is a class ('*' also matches slashes).
    --list names a file with one per line. Older versions stay in DVC's cache.
    """
    from flows.data.add import remove

    if takes_all and (patterns or list_file):
        raise click.UsageError("--all cannot be combined with patterns or --list")
    version = remove(workspace, name, None if takes_all else patterns, list_file=list_file, dry_run=dry_run)
    if version:
        _print_version(version)


@data.command()
@_REMOTE
@json_option
@click.pass_obj
def status(workspace: Path, remote: str | None, as_json: bool) -> None:
    """Show the data: sources, versions, counts, and what is not tracked, committed, prepared or pushed yet."""
    from flows.data.status import status as look
    from flows.data.view import show, status_parts

    found = look(workspace, remote=remote)
    if as_json:
        print_json(found.to_json())
    else:
        show(status_parts(found))


@data.command()
@click.argument("before", metavar="[A]", default="HEAD")
@click.argument("after", metavar="[B]", required=False)
@click.option(
    "--distance/--no-distance", default=True, help="Measure the distance of the new images from the old ones."
)
@_REMOTE
@json_option
@click.pass_obj
def diff(workspace: Path, before: str, after: str | None, distance: bool, remote: str | None, as_json: bool) -> None:
    """Compare two versions of the data.

    Shows which images were added, removed and relabelled, the class balance, and the distance of the new images.

    A and B are git revisions, or the first digits of a data version: the hash that `data add` prints, or a fingerprint.
    A defaults to HEAD, B to the working tree.
    """
    from flows.data import diff as data_diff
    from flows.data.view import diff_parts, show

    found = data_diff.diff(workspace, before, after, distance=distance, remote=remote)
    if as_json:
        print_json(data_diff.as_json(found))
    else:
        show(diff_parts(found))


@data.command()
@_REMOTE
@click.option(
    "--to",
    "location",
    metavar="LOCATION",
    help="A folder or an address (s3://BUCKET/PATH) to make the default remote before the push.",
)
@click.option("--content", is_flag=True, help="Read what the remote has, and send damaged objects again.")
@click.option("--run-cache", is_flag=True, help="Also send the outputs of earlier runs.")
@click.pass_obj
def push(workspace: Path, remote: str | None, location: str | None, content: bool, run_cache: bool) -> None:
    """Send the data and the pipeline's outputs to a DVC remote, and verify them there.

    Sends what data/raw.dvc and dvc.lock name. If a push was interrupted, run it again.
    """
    from flows.data import remote as remotes
    from flows.data.stores import add_default_remote

    if location is not None:
        if remote is not None:
            raise click.UsageError("--to sets the default remote and cannot be combined with -r")
        if add_default_remote(workspace, location):
            click.echo("the address contains a secret, so it is written only to .dvc/config.local, which git ignores")
    with progress_bar("send") as on_progress:
        done = remotes.push(workspace, remote, content=content, run_cache=run_cache, on_progress=on_progress)
    click.echo(
        f"{done.address}: {counted(done.sent, 'object')} sent ({done.sent_bytes / 1e6:,.1f} MB); "
        f"the remote now has all {done.objects:,}"
        + (f" and {counted(done.runs, 'entry')} of the run-cache" if run_cache else "")
    )


@data.command()
@_REMOTE
@click.option("--run-cache", is_flag=True, help="Also fetch the outputs of earlier runs.")
@click.pass_obj
def pull(workspace: Path, remote: str | None, run_cache: bool) -> None:
    """Fetch the data and the pipeline's outputs of this revision from a DVC remote, and check them out.

    Verifies the hash of each object before it enters the cache. Lists what the remote lacks, with exit status 1.
    """
    from flows.data import remote as remotes
    from flows.data.objects import describe_faults

    with progress_bar("fetch") as on_progress:
        done = remotes.pull(workspace, remote, run_cache=run_cache, on_progress=on_progress)
    click.echo(
        f"{done.address}: {done.fetched:,} of {done.objects:,} objects fetched ({done.fetched_bytes / 1e6:,.1f} MB)"
    )
    click.echo(f"changed in this checkout: {', '.join(done.changed) or 'nothing'}")
    if done.missing:
        click.echo(click.style(f"not at the remote: {describe_faults(done.missing)}", fg="red"), err=True)
        sys.exit(EXIT_FAILED)


@data.command()
@_REMOTE
@click.option("--content", is_flag=True, help="Read every object at the remote and compare its hash.")
@click.option("--rev", "revision", metavar="REV", help="Check a git revision instead of the working tree.")
@click.option("--all-commits", is_flag=True, help="Check all commits instead of the working tree.")
@json_option
@click.pass_obj
def verify(
    workspace: Path, remote: str | None, content: bool, revision: str | None, all_commits: bool, as_json: bool
) -> None:
    """Check that a DVC remote has every object that this revision needs. Exit status 1 if not. Changes nothing."""
    from flows.data import remote as remotes

    with progress_bar("read") as on_progress:
        found = remotes.verify(
            workspace, remote, content=content, revision=revision, all_commits=all_commits, on_progress=on_progress
        )
    if as_json:
        print_json({**asdict(found), "content_read": content})
    elif found.faults:
        click.echo(
            click.style(
                f"{found.address}: {len(found.faults):,} of {found.objects:,} objects are missing or damaged:", fg="red"
            )
        )
        for fault in found.faults[:SHOWN_FAULTS]:
            click.echo(f"  {fault.path} ({fault.oid}): {fault.what}")
        if len(found.faults) > SHOWN_FAULTS:
            click.echo(f"  and {len(found.faults) - SHOWN_FAULTS:,} more (--json lists all)")
        again = "genai data push" + (" --content" if content else "")
        click.echo(f"run `{again}` on a machine that has them in its DVC cache")
    else:
        how = "have the right hash" if content else "are there and have the right size (--content compares hashes)"
        click.echo(f"{found.address}: all {found.objects:,} objects {how}, {found.size_bytes / 1e6:,.1f} MB in total")
    if found.faults:
        sys.exit(EXIT_FAILED)


def _print_version(version: "TrackedData") -> None:
    click.echo(f"data/raw is now version {version.md5} ({version.size_bytes / 1e6:,.1f} MB)")
