"""The command `genai serve`."""

from pathlib import Path
from typing import Any

import click

from flows.json_output import json_option, print_json
from flows.serving.votes_cli import votes
from flows.table import print_table

HEAD = ("name", "added", "revoked")
DEFAULT_COMMAND = "models"


class ServeGroup(click.Group):
    """`genai serve token ...` is a subcommand; anything else are the options and models of `genai serve` itself."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


class ServeCommand(click.Command):
    """Shows its usage as `genai serve`."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        assert ctx.parent is not None
        formatter.write_usage(ctx.parent.command_path, " ".join(self.collect_usage_pieces(ctx)))


@click.group(cls=ServeGroup, short_help="Serve models over HTTP: a page to play with, and an API.")
def serve() -> None:
    """Serve models over HTTP: a page to play with, and an API."""


@serve.command(DEFAULT_COMMAND, cls=ServeCommand, hidden=True)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="auto, cpu, cuda or cuda:N; more than one: a process for each.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Of computations on a processor.  [default: cores]")
@click.option(
    "--queue",
    "queue_images",
    type=click.IntRange(1, 100_000),
    default=512,
    show_default=True,
    help="Images that may wait; beyond it, requests are answered with 429.",
)
@click.option(
    "--batch",
    "batch_images",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    help="Images computed together.",
)
@click.option(
    "--token-rate",
    type=click.IntRange(0, 1_000_000),
    default=1200,
    show_default=True,
    help="Requests a minute that each token may send; 0: no limit.",
)
@click.option("--blind", is_flag=True, help="Show pairs without names at /votes, and keep people's votes.")
@click.pass_obj
def serve_models(workspace: Path, /, models: tuple[str, ...], **options: Any) -> None:
    """Serve models over HTTP: a page to play with, and an API.

    MODEL: `prod` (the default), which follows promotions; a version; a model in models/, such as candidate or
    trained/vae; or a folder. OpenAI's clients work with it: base URL http://HOST:PORT/v1.

    With --blind, people vote on pairs of pictures of the models; `genai serve votes` shows the result.
    """
    from flows.serving.server import Options, serve

    serve(workspace, models, Options(**options), click.echo)


serve.add_command(votes)


@serve.group()
def token() -> None:
    """Make, list and revoke the tokens of clients."""


@token.command("add")
@click.argument("name")
@click.pass_obj
def token_add(workspace: Path, /, name: str) -> None:
    """Make a token for NAME, a person or a program, and print it. Only its hash is kept.

    From the first token on, every request needs one.
    """
    from flows.serving.tokens import add_token

    click.echo(add_token(workspace, name))
    click.echo("It is shown only now. Clients send it as `Authorization: Bearer TOKEN`.", err=True)


@token.command("list")
@json_option
@click.pass_obj
def token_list(workspace: Path, /, as_json: bool) -> None:
    """List the tokens' names, and when they were added and revoked."""
    from flows.serving.tokens import read_tokens

    records = read_tokens(workspace)
    if as_json:
        print_json([{"name": record.name, "added": record.added, "revoked": record.revoked} for record in records])
    elif records:
        print_table([(record.name, record.added, record.revoked or "") for record in records], HEAD)
    else:
        click.echo("there is no token yet; `genai serve token add NAME` makes one")


@token.command("revoke")
@click.argument("name")
@click.pass_obj
def token_revoke(workspace: Path, /, name: str) -> None:
    """Revoke the token of NAME. A running server refuses it from now on."""
    from flows.serving.tokens import revoke_token

    revoke_token(workspace, name)
    click.echo(f"the token of {name} is revoked")
