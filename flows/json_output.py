"""The option `--json`: print one JSON document to standard output, everything else to standard error.

docs/running.md lists the keys of each command. A command that fails prints an object with the key `error`.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import click

FLAG = "--json"
json_option = click.option(FLAG, "as_json", is_flag=True, help="Print JSON (keys: docs/running.md, JSON output).")


@dataclass
class _Output:
    stream: TextIO
    is_used: bool = False


_output: ContextVar[_Output | None] = ContextVar("json output", default=None)


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Reserve standard output for `print_json`; in the body, other prints go to standard error."""
    token = _output.set(_Output(sys.stdout))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _output.reset(token)


def print_json(values: Any, *, one_line: bool = False) -> None:
    """Print a JSON document. one_line: for a command that prints one document after another."""
    output = _output.get() or _Output(sys.stdout)
    output.is_used = True
    output.stream.write(json.dumps(values, indent=None if one_line else 2) + "\n")
    output.stream.flush()


def print_error_json(message: str) -> None:
    """Print `{"error": message}` if the command has `--json` and has printed no document yet."""
    output = _output.get()
    if output is not None and not output.is_used:
        print_json({"error": message})
