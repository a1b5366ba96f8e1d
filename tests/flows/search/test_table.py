"""The table of a search: short names, a line for each ended trial, and the live one."""

import io

import pytest
from rich.console import Console

from flows.search.table import SearchTable, short_names
from flows.search.trial import End, Figures, TrialEnd, TrialState

RATE, WIDTH = "models.gan.training.learning_rate", "models.gan.network.width"


def ended(number: int, end: End, distance: float | None = None, fault: str = "") -> TrialState:
    figures = None if distance is None else Figures(distance, None, None)
    state = TrialState(number, {RATE: 0.001, WIDTH: 24}, distances={0.2: 1.0})
    state.ended = TrialEnd(end, figures, 12.0, fault=fault)
    return state


def test_names_are_as_short_as_they_may_be() -> None:
    assert short_names([RATE, WIDTH]) == {RATE: "learning_rate", WIDTH: "width"}
    assert list(short_names(["models.a.seed", "models.b.seed", "augment.seed"]).values()) == [
        "a.seed",
        "b.seed",
        "augment.seed",
    ]


def test_where_there_is_no_terminal_each_trial_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = SearchTable([RATE, WIDTH], "fd", None, 4, live=False)
    for trial in (ended(0, "complete", 2.5), ended(1, "pruned"), ended(2, "failed", fault="it collapsed")):
        table.add(trial)
        table.ended(trial)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "trial 0: complete 2.5 in 12 s, the best so far: learning_rate 0.001, width 24",
        "trial 1: pruned at 20% of its training in 12 s: learning_rate 0.001, width 24",
        "trial 2: failed: it collapsed: learning_rate 0.001, width 24",
    ]


def test_the_live_table_shows_running_trials_and_the_best() -> None:
    table = SearchTable([RATE, WIDTH], "fd", 3.0, 4, live=True)
    table.add(ended(0, "complete", 2.5))
    table.ended(ended(0, "complete", 2.5))
    table.add(TrialState(1, {RATE: 0.002}, "train@gan", 0.42))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert "train@gan 42%" in text
    assert "trials: 2 of 4, best fd: 2.5" in text


def test_the_live_table_fits_into_the_terminal() -> None:
    table = SearchTable([RATE, WIDTH], "fd", None, 40, live=True)
    for number in range(30):
        table.add(ended(number, "failed", fault="the loss is not finite after 1,234 images; " * 5))
    console = Console(width=60, height=10, record=True, file=io.StringIO())
    console.print(table)
    lines = console.export_text().splitlines()
    assert len(lines) <= 10
    assert any("29" in line and "failed: the loss" in line for line in lines)  # the newest one
