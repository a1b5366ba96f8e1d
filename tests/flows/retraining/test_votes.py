"""People's votes while a retraining waits for approval."""

import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

from flows.registry.votes import VOTES
from flows.retraining import votes as module
from flows.retraining.votes import following_votes, size_of_votes, votes_so_far
from genai_core.preference.bradley_terry import Preference


def test_new_votes_are_shown_in_the_callers_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_S", 0.01)
    path, run = tmp_path / VOTES, ContextVar("run", default="none")
    path.parent.mkdir()
    path.write_text("a vote\n")
    run.set("ours")
    shown: list[str] = []
    seen = threading.Event()

    def show() -> None:
        shown.append(run.get())
        seen.set()

    with following_votes(tmp_path, show, size_of_votes(tmp_path)):
        assert not seen.wait(0.1), "nothing is new"
        with path.open("a") as file:
            file.write("another vote\n")
        assert seen.wait(10.0)
    assert shown == ["ours"]
    assert not [thread for thread in threading.enumerate() if thread.name == "votes"]


def test_votes_that_came_after_the_first_page_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_S", 0.01)
    before, seen = size_of_votes(tmp_path), threading.Event()
    (tmp_path / VOTES).parent.mkdir()
    (tmp_path / VOTES).write_text("a vote\n")
    with following_votes(tmp_path, seen.set, before):
        assert seen.wait(10.0)


def test_what_votes_say() -> None:
    assert votes_so_far(Preference(0.5, 0.02, 0.98, 0)) == "none yet"
    assert votes_so_far(Preference(0.6, 0.4, 0.77, 24)) == "24 votes, 60% prefer the candidate (40% to 77%)"
