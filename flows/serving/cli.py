"""The command `genai serve`."""

from pathlib import Path
from typing import Any

import click

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
@click.pass_obj
def serve_models(workspace: Path, /, models: tuple[str, ...], **options: Any) -> None:
    """Serve models over HTTP: a page to play with, and an API.

    MODEL: `prod` (the default), which follows promotions; a version; a model in models/, such as candidate or
    trained/vae; or a folder. OpenAI's clients work with it: base URL http://HOST:PORT/v1.
    """
    from flows.serving.server import Options, serve

    serve(workspace, models, Options(**options), click.echo)
