"""Tables on standard output: for people in a terminal, and for grep behind a pipe."""

import os
import pty
import subprocess
import sys

import pytest
from rich.text import Text

from flows.table import print_table

REASON = "a reason of many words " * 8


def test_columns_are_aligned_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("gan", "7.5", "x"), ("vqvae", "12.25", "")], ("model", "FD", ""), right={1})
    assert capsys.readouterr().out.splitlines() == [
        "model     FD",
        "gan      7.5  x",
        "vqvae  12.25",
    ]
    print_table([])
    print_table([("a", "first\nsecond")])
    assert capsys.readouterr().out == "a  first\n   second\n"


def test_characters_that_are_two_cells_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("\u732b", "1"), ("cat", "2")])
    assert capsys.readouterr().out == "\u732b   1\ncat  2\n"


def test_each_row_is_one_plain_line_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says about the terminal, so that `genai history | grep` finds a row."""
    for name, value in (("COLUMNS", "40"), ("FORCE_COLOR", "1"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    print_table([(Text("ok", "green"), REASON + "[red] :cat:"), ("x" * 300, "y")], ("state", "reason"))
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["state", "reason"]
    assert first == "ok".ljust(302) + REASON + "[red] :cat:", "neither marks nor emoji codes are read"
    assert second == "x" * 300 + "  y"


def in_terminal(columns: int) -> list[str]:
    """The output in a terminal of that width."""
    code = f"from flows.table import print_table; print_table([('v0.0.1', {REASON!r})], ('version', 'reason'))"
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    with os.fdopen(master, "rb", buffering=0) as reader:
        with os.fdopen(slave, "wb") as writer:
            subprocess.run([sys.executable, "-c", code], stdout=writer, env=environment, check=True)
        text = reader.read(65536).decode()
    return [line.replace("\x1b[2m", "").replace("\x1b[0m", "").rstrip() for line in text.splitlines()]


def test_in_a_terminal_only_the_last_column_wraps() -> None:
    _, first, *others = in_terminal(60)
    assert first.startswith("v0.0.1   a reason of")
    assert others
    assert all(line.startswith(" " * 9 + line.strip()[0]) for line in others)
    assert max(map(len, (first, *others))) <= 60
    assert " ".join(line.strip() for line in (first[9:], *others)) == REASON.strip()
    assert in_terminal(25)[1] == f"v0.0.1   {REASON}".rstrip(), "no room to wrap in: the terminal does it"
