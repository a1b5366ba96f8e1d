"""The output of a run in a terminal and in a pipe."""

import io
import os
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from flows.plan import Plan, StagePlan
from flows.view import LineView, LiveView, SilentView, current_view, describe_progress, terminal_view

PROGRESS = {
    "phase": "train",
    "unit": "images",
    "done": 2_500,
    "total": 10_000,
    "per_second": 1234.5,
    "seconds_left": 61.0,
    "figures": {"loss": 0.12345},
}
STAGES = ["prepare", "train@gan", "train@vae", "select", "report"]


def shown(view: LiveView, width: int = 110) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(view)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_live_table() -> None:
    view = LiveView(STAGES)
    view.finished("prepare", "kept", 0.0)
    view.started("train@gan")
    view.line("train@gan", "train: 2,500 of 10,000")
    view.line("train@gan", "   ")
    view.started("train@vae")
    before = shown(view)
    view.progress("train@gan", PROGRESS)
    view.finished("train@vae", "failed", 3.14)
    rows = shown(view)
    assert len(before) == len(rows) == len(STAGES)
    assert before[1].endswith("train: 2,500 of 10,000")
    assert rows[0].split() == ["·", "prepare", "kept"]
    assert re.search(r"train@gan +0 s +━+.* +train 2,500/10,000 images  1,234/s  61 s left  loss 0.123$", rows[1])
    assert rows[2].split() == ["✗", "train@vae", "3.1", "s", "failed"]
    assert rows[3].split() == ["select"]


@pytest.mark.parametrize("width", [20, 40, 200])
def test_one_row_per_stage_at_any_width(width: int) -> None:
    view = LiveView(STAGES)
    for stage in STAGES[:3]:
        view.started(stage)
        view.progress(stage, PROGRESS)
        view.line(stage, "words " * 50 + "[red]no markup[/red]")
    assert len(shown(view, width)) == len(STAGES)


def test_text_of_a_stage_is_not_markup() -> None:
    view = LiveView(["a"])
    view.started("a")
    view.line("a", "[bold]weights[/nothing] [0]")
    assert shown(view)[0].endswith("[bold]weights[/nothing] [0]")


def test_retry_resets_the_row() -> None:
    view = LiveView(["a"])
    view.started("a")
    view.finished("a", "failed", 1.0)
    view.started("a")
    assert "failed" not in shown(view)[0]
    view.finished("a", "ran", 2.0)
    assert shown(view)[0].split() == ["✓", "a", "2.0", "s", "ran"]


def test_a_stage_that_waits_says_why() -> None:
    view = LiveView(["a", "b"])
    view.waits("b", "for run 1, which is doing the same")
    assert shown(view)[1].endswith("waits for run 1, which is doing the same")
    view.started("b")
    assert "waits" not in shown(view)[1]


@pytest.mark.parametrize("missing", ["per_second", "seconds_left", "figures"])
def test_progress_without_a_rate(missing: str) -> None:
    state: dict[str, Any] = {**PROGRESS, missing: None} if missing != "figures" else {**PROGRESS, missing: {}}
    assert describe_progress(state).startswith("train 2,500/10,000 images")
    assert "None" not in describe_progress(state)


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(tuple(StagePlan(stage, "keep", ()) for stage in ("prepare", "train@gan")))
    assert isinstance(current_view(), SilentView)
    with terminal_view(plan) as view:
        assert current_view() is view
        assert isinstance(view, LineView)
        view.waits("train@gan", "for run 1, which is doing the same")
        view.started("train@gan")
        view.line("train@gan", "loss 0.5")
        view.progress("train@gan", PROGRESS)
        view.finished("train@gan", "ran", 1.25)
        view.finished("prepare", "kept", 0.0)
    assert isinstance(current_view(), SilentView)
    assert capsys.readouterr().out.splitlines() == [
        "train@gan waits for run 1, which is doing the same",
        "train@gan started",
        "train@gan | loss 0.5",
        "train@gan ✓ ran in 1.2 s",
        "prepare   · kept",
    ]


def test_pipe_that_cannot_encode_our_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage must not fail because of a locale."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with terminal_view(Plan((StagePlan("a", "keep", ()),))) as view:
        view.line("a", "grün")
        view.finished("a", "ran", 1.0)
    assert raw.getvalue().splitlines() == [b"a | gr?n", b"a ? ran in 1.0 s"]


def test_reader_of_a_pipe_may_exit() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    view = LineView(stream, width=5)
    os.close(reader)
    view.started("a")
    view.finished("a", "ran", 1.0)
    with pytest.raises(BrokenPipeError):
        stream.close()
