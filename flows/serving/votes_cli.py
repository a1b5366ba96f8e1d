"""The command `genai serve votes`."""

from pathlib import Path
from typing import Any

import click

from flows.json_output import json_option, print_json
from flows.table import print_table

HEAD = ("model", "weights", "better", "worse", "ties", "preferred to the reference")


@click.command("votes")
@json_option
@click.pass_obj
def votes(workspace: Path, as_json: bool) -> None:
    """Show whose pictures people prefer, by the votes of `genai serve --blind`.

    Strengths are those of Bradley and Terry, with 95% intervals; a tie is half a vote for each side.
    """
    from flows.registry.votes import VOTES, read_votes, reference_of, table_of

    found = read_votes(workspace)
    table = table_of(found, reference_of(workspace, found))
    if as_json:
        print_json(table)
        return
    if found.faulty_lines:
        click.echo(f"{workspace / VOTES}: skipped {found.faulty_lines} invalid lines", err=True)
    if not table["models"]:
        click.echo("no votes yet; start a server for them with `genai serve --blind prod candidate`")
        return
    print_table([_row(model) for model in table["models"]], HEAD)
    voters = ", ".join(f"{who} {count:,}" for who, count in table["voters"].items())
    click.echo(f"\n{table['votes']:,} votes, {table['skipped']:,} of them skipped, {table['first']} to {table['last']}")
    click.echo(f"by {voters}")


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    counts = (f"{model['wins']:,}", f"{model['losses']:,}", f"{model['ties']:,}")
    return (model["name"], model["sha256"][:12], *counts, _preferred(model))


def _preferred(model: dict[str, Any]) -> str:
    if model["is_reference"]:
        return "the reference"
    found = model["preference"]
    return "not compared" if found is None else f"{found['value']:.0%} ({found['low']:.0%} to {found['high']:.0%})"
