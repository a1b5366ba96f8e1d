"""The registry's commands: promote, rollback, history, registry show, registry at."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.completion import completing
from flows.json_output import json_option, print_json
from flows.table import print_table

if TYPE_CHECKING:
    from flows.registry.promotion import Moved
    from flows.registry.read import Move, Registry, Version

REASON = click.option("-m", "--reason", default="", help="Reason; it is kept in the tag.")
LOCAL = click.option("--local", is_flag=True, help="Do not fetch newer tags from the git remote.")


def version_names(workspace: Path) -> Iterable[str]:
    """Return the registered versions, for shell completion."""
    from flows.registry.read import read_registry

    return [version.name for version in read_registry(workspace).versions]


@click.command()
@click.option("--as", "version", help="The version's name, such as v1.2.0.  [default: the next one]")
@REASON
@click.option(
    "--dry-run", is_flag=True, help="Run the checks and print what would change. Pushes nothing, tags nothing."
)
@json_option
@click.pass_obj
def promote(workspace: Path, version: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Make the last commit's candidate the production model.

    Pushes its data to the DVC remote, verifies it there, then sets the tags. Either completes or changes nothing.
    """
    from flows.data.remote import push_commit
    from flows.registry.promotion import promote as move

    moved = move(workspace, push_commit, version=version, why=reason, by="genai promote", dry_run=dry_run)
    only_here = "only in this machine's DVC cache, because there is no DVC remote (genai data push --to URL)"
    _print_moved(moved, only_here, dry_run=dry_run, as_json=as_json)


@click.command()
@click.option(
    "--to",
    metavar="VERSION",
    help="The version to go back to.  [default: the one before]",
    shell_complete=completing(version_names),
)
@REASON
@json_option
@click.pass_obj
def rollback(workspace: Path, to: str | None, reason: str, as_json: bool) -> None:
    """Make an earlier version the production model again. Takes about a second and trains nothing."""
    from flows.registry.promotion import rollback as move

    moved = move(workspace, to=to, why=reason, by="genai rollback")
    _print_moved(moved, "complete in this machine's DVC cache; no DVC remote was checked", as_json=as_json)


@click.command()
@json_option
@LOCAL
@click.pass_obj
def history(workspace: Path, as_json: bool, local: bool) -> None:
    """List what was in production, since when, by whom and why. Newest first."""
    registry = _read(workspace, local)
    moves = list(reversed(registry.moves))
    if as_json:
        print_json([_move_values(move) for move in moves])
        return
    if not moves:
        click.echo("no model has been promoted yet; run `genai promote`")
        return
    rows = [
        (_when(move.at), move.version, "withdrawn" if move.ended else move.action, move.by, move.why) for move in moves
    ]
    print_table(rows, ("since", "version", "action", "by", "reason"))


@click.group()
def registry() -> None:
    """List the versions of the model, and which one is in production."""


@registry.command("show")
@json_option
@LOCAL
@click.pass_obj
def show(workspace: Path, as_json: bool, local: bool) -> None:
    """List all versions, newest first."""
    found = _read(workspace, local)
    standing = found.production()
    name = standing.version if standing else None
    if as_json:
        print_json({"production": name, "versions": [_version_values(version) for version in reversed(found.versions)]})
        return
    if not found.versions:
        click.echo("no version is registered yet; `genai promote` registers the candidate and puts it into production")
        return
    rows = []
    for version in reversed(found.versions):
        state = "prod" if version.name == name else "withdrawn" if version.withdrawn else ""
        facts = version.facts
        figure = f"{facts.figures[facts.metric]:.4g}" if facts and facts.metric in facts.figures else "-"
        rows.append(
            (
                version.name,
                state,
                _when(version.at),
                version.commit[:7],
                facts.family if facts else "-",
                f"{facts.metric} {figure}" if facts else "-",
                facts.dataset[:8] if facts else "-",
                version.why,
            )
        )
    head = ("version", "", "registered", "commit", "family", "metric", "dataset", "reason")
    print_table(rows, head)


@registry.command("at")
@click.argument("date")
@json_option
@LOCAL
@click.pass_obj
def at(workspace: Path, date: str, as_json: bool, local: bool) -> None:
    """Show what was in production at DATE: 2026-11-23 (end of that day) or 2026-11-23T14:30.

    DATE is local time unless it has an offset.
    """
    moment = _moment(date)
    move = _read(workspace, local).production(moment)
    if as_json:
        print_json(_move_values(move) if move else None)
    elif move is None:
        click.echo(f"no model was in production at {_when(moment)}")
    else:
        click.echo(f"{move.version}, since {_when(move.at)} (commit {move.commit[:7]}, {move.action} by {move.by})")


def _read(workspace: Path, local: bool) -> "Registry":
    """Return this clone's registry, updated from the git remote if that answers."""
    from flows.git import GitError, remote_of
    from flows.registry.read import read_registry
    from flows.registry.write import newer_tags

    remote = None if local else remote_of(workspace)
    if remote:
        try:
            newer_tags(workspace, remote)
        except GitError as error:
            click.echo(f"{remote} does not answer, so this shows only the tags of this clone: {error}", err=True)
    return read_registry(workspace)


def _print_moved(moved: "Moved", in_cache: str, *, dry_run: bool = False, as_json: bool) -> None:
    """Print the move. in_cache: what to say of data that was not verified at a DVC remote."""
    if as_json:
        print_json({**asdict(moved), "dry_run": dry_run})
        return
    before = f"replaces {moved.before}" if moved.before else "the first version"
    click.echo(f"{moved.version} {'would be' if dry_run else 'is'} in production ({before}, commit {moved.commit[:7]})")
    if moved.data_remote:
        done = "would be pushed to and verified at" if dry_run else "verified at"
        click.echo(f"  data: {done} the DVC remote {moved.data_remote}")
    else:
        click.echo(f"  data: {in_cache}")
    tags = ", ".join(moved.tags)
    if moved.git_remote:
        click.echo(f"  tags: {tags}, {'would be pushed' if dry_run else 'pushed'} to {moved.git_remote}")
    else:
        click.echo(f"  tags: {tags}, only in this clone, because there is no git remote (git remote add origin URL)")
    if dry_run:
        click.echo("Dry run: nothing was pushed or tagged.")


def _moment(date: str) -> datetime:
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        raise click.BadParameter(f"{date!r}: expected a date such as 2026-11-23 or 2026-11-23T14:30") from None
    if len(date) <= len("2026-11-23"):
        moment = datetime.combine(moment.date(), time.max)
    return moment.astimezone()


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _move_values(move: "Move") -> dict[str, Any]:
    values = {name: getattr(move, name) for name in ("number", "version", "commit", "by", "action", "why", "ended")}
    return {**values, "at": move.at.isoformat()}


def _version_values(version: "Version") -> dict[str, Any]:
    facts = vars(version.facts) if version.facts else None
    values = {name: getattr(version, name) for name in ("name", "commit", "by", "why", "withdrawn")}
    return {**values, "at": version.at.isoformat(), "facts": facts}
