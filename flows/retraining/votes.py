"""People's votes on a retraining's candidate, while it waits for approval."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from flows.beside import beside
from flows.registry.votes import VOTES, read_votes
from genai_core.counted import counted
from genai_core.preference.bradley_terry import Preference

_POLL_S = 5.0


def people_prefer(workspace: Path, comparison: dict[str, Any]) -> Preference | None:
    """People's preference for the candidate over production, by the votes so far; None without a champion."""
    champion = comparison.get("a")
    if champion is None:
        return None
    return read_votes(workspace).preference(comparison["b"]["weights_sha256"], champion["weights_sha256"])


def votes_so_far(found: Preference) -> str:
    """Return one line: how many votes there are, and what they say."""
    if not found.votes:
        return "none yet"
    share = f"{found.value:.0%} prefer the candidate ({found.low:.0%} to {found.high:.0%})"
    return f"{counted(found.votes, 'vote')}, {share}"


@contextmanager
def following_votes(workspace: Path, show: Callable[[], None], shown: int) -> Iterator[None]:
    """Call `show` after new votes, while the body runs; from another thread, in the caller's context.

    shown: size_of_votes before the caller read them, so that none is missed meanwhile.
    """

    def follow(over: threading.Event) -> None:
        seen = shown
        while not over.wait(_POLL_S):
            if (size := size_of_votes(workspace)) != seen:
                seen = size
                show()

    context = copy_context()
    with beside(lambda over: context.run(follow, over)):
        yield


def size_of_votes(workspace: Path) -> int:
    """Return the size of the file of votes in bytes. It grows with each vote: they are only ever appended."""
    try:
        return (workspace / VOTES).stat().st_size
    except OSError:
        return 0
