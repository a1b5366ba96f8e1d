"""Executes a page of the documentation: its Python and sh blocks, in order, as a reader would."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.test_rooms import ROOT

FOLDER = ROOT / "docs" / "tutorials"
TIME_LIMIT_S = 1_500.0

_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block that a reader runs. line: number of its first line of code in the page."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> tuple[Block, ...]:
    """Return the blocks marked `python` or `sh`. A `text` block shows output, `yaml` a file: neither is run."""
    text = page.read_text(encoding="utf-8")
    return tuple(Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in _BLOCK.finditer(text))


def execute(page: Path, folder: Path, **environment: str) -> dict[str, Any]:
    """Run a page's blocks in `folder`, and return the variables that its Python blocks leave.

    The Python blocks share their variables and the process of the test, whose current folder must be `folder`. Each sh
    block has a shell of its own, which stops at the first command that fails. A failure names the line of the page.
    """
    assert Path.cwd() == folder, "Python blocks run in the current folder"
    variables: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            # The empty lines make the lines of a traceback those of the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), variables)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"{page.name}, line {block.line}: status {done.returncode}\n{block.code}\n{said}"
        variables.setdefault("said", []).append(said)
    return variables
