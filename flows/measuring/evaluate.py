"""`genai evaluate`: measuring images that no stage made, in a child process, as the command line knows no torch."""

import sys
from pathlib import Path

import click

from flows.process import run_command

# Paths that the user names from where the command is run, not from the workspace.
PATHS = ("against", "weights", "out")


def evaluate(workspace: Path, images: str | None, *, selfcheck: bool, **options: str | None) -> int:
    """Run tasks.score in `workspace`; options as its own. Prints its lines, gives its exit status."""
    command = [sys.executable, "-m", "tasks.score"]
    command += [_absolute(images)] if images else []
    command += ["--selfcheck"] if selfcheck else []
    for name, value in options.items():
        if value is not None:
            command.append(f"--{name.replace('_', '-')}={_absolute(value) if name in PATHS else value}")
    return run_command(
        command,
        folder=workspace,
        environment={"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        on_line=click.echo,
    )


def _absolute(place: str) -> str:
    return place if place.startswith("builtin:") else str(Path(place).resolve())
