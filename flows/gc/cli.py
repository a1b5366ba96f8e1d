"""The command `genai gc`."""

from pathlib import Path

import click

from flows.table import print_table


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only print what would be freed.")
@click.pass_obj
def gc(workspace: Path, dry_run: bool) -> None:
    """Delete what DVC's cache no longer needs. Safe during a run.

    Also deletes what killed commands left. Keeps what production, registered versions, runs, tags, branch heads and all
    checkouts use, and the stages that an interrupted run would restore. Does not touch remotes.
    """
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.gc.collect import collect

    found = collect(workspace, dry_run=dry_run)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    rows = [(entry.kind, _files(entry.files), _size(entry.size_bytes)) for entry in found.freed]
    print_table(rows, right={1, 2})
    files, size = sum(entry.files for entry in found.freed), sum(entry.size_bytes for entry in found.freed)
    done = f"{'would free' if dry_run else 'freed'} {_files(files)}, {_size(size)}" if files else "nothing to free"
    click.echo(f"{done}; kept {_files(found.kept_files)}, {_size(found.kept_bytes)}, needed by {found.needed_by}")


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
