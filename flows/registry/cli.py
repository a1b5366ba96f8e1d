"""The registry's commands: promote, rollback, history, registry show, registry at."""

import json
from collections.abc import Sequence
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flows.registry.promotion import Moved
    from flows.registry.read import Move, Registry, Version

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
REASON = click.option("-m", "--reason", default="", help="Why; it is kept in the tag.")
LOCAL = click.option("--local", is_flag=True, help="Do not ask the git remote for news.")


@click.command()
@click.option("--as", "version", help="The version's name, such as v1.2.0.  [default: the next one]")
@REASON
@click.pass_obj
def promote(workspace: Path, version: str | None, reason: str) -> None:
    """Make the candidate of the last commit the production model.

    Its data is pushed to the DVC remote and verified there, then the tags are set: all of it happens, or nothing.
    """
    from flows.data.remote import push
    from flows.registry.promotion import promote as move

    _say(move(workspace, push, version=version, why=reason, by="genai promote"))


@click.command()
@click.option("--to", metavar="VERSION", help="The version to go back to.  [default: the one before]")
@REASON
@click.pass_obj
def rollback(workspace: Path, to: str | None, reason: str) -> None:
    """Make an earlier version the production model again. Nothing is trained; it takes a second."""
    from flows.registry.promotion import rollback as move

    _say(move(workspace, to=to, why=reason, by="genai rollback"))


@click.command()
@AS_JSON
@LOCAL
@click.pass_obj
def history(workspace: Path, as_json: bool, local: bool) -> None:
    """What was in production, since when, by whom and why; the newest first."""
    registry = _read(workspace, local)
    moves = list(reversed(registry.moves))
    if as_json:
        click.echo(json.dumps([_move_values(move) for move in moves], indent=2))
        return
    if not moves:
        click.echo("nothing was ever in production; genai promote")
        return
    rows = [
        (_when(move.at), move.version, "withdrawn" if move.ended else move.action, move.by, move.why) for move in moves
    ]
    _table(("since", "version", "by way of", "who", "why"), rows)


@click.group()
def registry() -> None:
    """The versions of the model, and which of them is in production."""


@registry.command("show")
@AS_JSON
@LOCAL
@click.pass_obj
def show(workspace: Path, as_json: bool, local: bool) -> None:
    """All versions, the newest first."""
    found = _read(workspace, local)
    standing = found.production()
    name = standing.version if standing else None
    if as_json:
        values = {"production": name, "versions": [_version_values(version) for version in reversed(found.versions)]}
        click.echo(json.dumps(values, indent=2))
        return
    if not found.versions:
        click.echo("no version is registered; genai promote registers the candidate and puts it into production")
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
    _table(("version", "", "registered", "commit", "family", "figure", "dataset", "why"), rows)


@registry.command("at")
@click.argument("date")
@AS_JSON
@LOCAL
@click.pass_obj
def at(workspace: Path, date: str, as_json: bool, local: bool) -> None:
    """What was in production at DATE: 2026-11-23 (its end) or 2026-11-23T14:30, local time unless it says otherwise."""
    moment = _moment(date)
    move = _read(workspace, local).production(moment)
    if as_json:
        click.echo(json.dumps(_move_values(move) if move else None, indent=2))
    elif move is None:
        click.echo(f"nothing was in production at {_when(moment)}")
    else:
        click.echo(f"{move.version}, since {_when(move.at)} (commit {move.commit[:7]}, {move.action} by {move.by})")


def _read(workspace: Path, local: bool) -> "Registry":
    """This clone's registry, brought up to date from the git remote when that answers."""
    from flows.git import GitError, remote_of
    from flows.registry.read import read_registry
    from flows.registry.write import newer_tags

    remote = None if local else remote_of(workspace)
    if remote:
        try:
            newer_tags(workspace, remote)
        except GitError as error:
            click.echo(f"{remote} does not answer, so this is what this clone knows: {error}", err=True)
    return read_registry(workspace)


def _say(moved: "Moved") -> None:
    click.echo(f"{moved.version} is in production, {f'before it {moved.before}' if moved.before else 'the first'}")
    if moved.data_remote:
        click.echo(f"  data: at the DVC remote {moved.data_remote}")
    else:
        click.echo(
            "  data: in this machine's DVC cache only; there is no DVC remote (dvc remote add --default NAME URL)"
        )
    if moved.git_remote:
        click.echo(f"  tags: at {moved.git_remote}")
    else:
        click.echo("  tags: in this clone only; there is no git remote (git remote add origin URL)")


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


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
