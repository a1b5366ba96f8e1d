"""The page of error messages: each message that it quotes is still one that the code can give.

When a test here fails, the wording in the code has changed: quote the new one, which the failure names.
"""

import ast
import difflib
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.test_rooms import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
ROOMS = ("flows", "tasks", "genai_core")
LEAST_CHARACTERS = 12  # of fixed text: less would match something by chance
ANYTHING = "..."

_ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)
QUOTED = [message for message, _ in _ROW.findall(PAGE.read_text(encoding="utf-8"))]


@cache
def texts_of_the_code() -> frozenset[str]:
    """Every text of the code, as one line; what an f-string fills in is written as `...`."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            found.update(" ".join(text.split()) for text in _texts(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(found)


def says(text: str, message: str) -> bool:
    """Return whether a text has the message's fixed parts, in their order. It may say more before and after."""
    end = 0
    for part in message.split(ANYTHING):
        begin = text.find(part, end)
        if begin < 0:
            return False
        end = begin + len(part)
    return True


@pytest.mark.parametrize("message", QUOTED)
def test_the_code_can_still_give_it(message: str) -> None:
    assert len(message.replace(ANYTHING, "").strip()) >= LEAST_CHARACTERS
    if not any(says(text, message) for text in texts_of_the_code()):
        nearest = difflib.get_close_matches(message, texts_of_the_code(), n=3, cutoff=0.3)
        pytest.fail("no text of the code has it; the nearest:\n" + "\n".join(nearest))


def test_every_row_of_a_table_quotes_a_message() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    headers = [line for line in rows if line == "| message | what to do |"]
    assert len(rows) - len(headers) == len(QUOTED) > 60
    assert len(set(QUOTED)) == len(QUOTED)


def test_a_reworded_message_is_noticed() -> None:
    text = "port ... is in use on ...; name another"
    assert says(text, "port ... is in use")
    assert not says(text, "port ... is taken")
    assert not says(text, "is in use on ... port"), "the order counts"
    assert not any(says(text, "... says what nobody ever wrote ...") for text in texts_of_the_code())


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else ANYTHING for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
