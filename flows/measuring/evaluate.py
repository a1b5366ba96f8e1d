"""`genai evaluate`: measuring images that no stage made, in a child process, as the command line knows no torch."""

from pathlib import Path

import click

from flows.process import run_module

# Paths that the user names from where the command is run, not from the workspace.
PATHS = ("against", "weights", "out")


def evaluate(workspace: Path, images: str | None, *, selfcheck: bool, **options: str | None) -> int:
    """Run tasks.score in `workspace`; options as its own. Prints its lines, gives its exit status."""
    command = ["tasks.score"]
    command += [_absolute(images)] if images else []
    command += ["--selfcheck"] if selfcheck else []
    for name, value in options.items():
        if value is not None:
            command.append(f"--{name.replace('_', '-')}={_absolute(value) if name in PATHS else value}")
    return run_module(command, folder=workspace, on_line=click.echo)


def _absolute(place: str) -> str:
    return place if place.startswith("builtin:") else str(Path(place).resolve())
