"""Packages that only some formats need: extras of pyproject.toml, imported when a source has such files."""

from importlib import import_module
from typing import Any


class MissingExtraError(ValueError):
    """A format needs a package that is not installed; the message names the command that installs it."""


def import_extra(module: str, extra: str, what: str) -> Any:
    """Import a package. what: the files that need it, for the message. Raises MissingExtraError."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{what} need the package {module} ({error}); {install_command(extra)}") from None


def install_command(extra: str) -> str:
    return f"install it: .venv/bin/pip install -e '.[{extra}]'"
