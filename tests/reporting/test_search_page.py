"""The page of a search."""

from typing import Any

import pytest

from genai_core.reporting.scatter import Dot, scatter_svg
from genai_core.reporting.search_page import SearchPage, render_search_page

RATE, TARGET = "models.gan.training.learning_rate", "models.gan.objective.ada_target"


def trial(number: int, distance: float | None, **values: Any) -> dict[str, Any]:
    return {
        "number": number,
        "state": "failed" if distance is None else "complete",
        "values": values or {RATE: 0.001 * (number + 1), TARGET: None},
        "distance": distance,
        "held_out": None if distance is None else distance + 1,
        "seconds_per_image": 0.01 * (4 - number),
        "seconds": 10.0,
        "rungs": {"1": 0.5},
        "fault": "<script>alert(1)</script>" if distance is None else "",
        "present": number == 0,
    }


def values(objectives: list[str], trials: list[dict[str, Any]]) -> dict[str, Any]:
    complete = [entry for entry in trials if entry["distance"] is not None]
    best = min(complete, key=lambda entry: entry["distance"])["number"] if complete else None
    return {
        "study": "abc",
        "metric": "fd_classifier",
        "objectives": objectives,
        "first_share": 0.2,
        "space": {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, TARGET: {"choices": ["null", "0.6"]}},
        "names": {RATE: "learning_rate", TARGET: "ada_target"},
        "trials": trials,
        "best": best,
        "front": [0, 1] if len(objectives) > 1 else [],
        "importance": {RATE: 0.9, TARGET: 0.1} if complete else {},
        "fresh": {"1": {"seed": 5, "distance": 2.1, "held_out": 3.2}} if complete else {},
    }


def test_the_page_has_the_winner_measured_again_and_all_charts() -> None:
    trials = [trial(0, 3.0), trial(1, 2.0), trial(2, None), trial(3, 4.0)]
    text = render_search_page(SearchPage(values(["distance", "seconds_per_image"], trials), (), "today"))
    for expected in ("Trial 1 is the best of 4", "3 complete, 1 failed", "Measured again", "2.1", "3.2", "fANOVA"):
        assert expected in text
    assert text.count("<svg") == 5  # history, rungs, front, and a slice for each key
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "<td>null</td>" in text  # as params.yaml has it
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_page_links_the_report_of_the_last_run_if_there_is_one() -> None:
    found = values(["distance"], [trial(0, 3.0), trial(1, 2.0)])
    link = '<a href="../../reports/report.html">'
    assert link in render_search_page(SearchPage(found, (), "today", "../../reports/report.html"))
    assert "<a " not in render_search_page(SearchPage(found, (), "today"))


def test_a_search_without_a_complete_trial_has_a_page() -> None:
    text = render_search_page(SearchPage(values(["distance"], [trial(0, None)]), (), "today"))
    assert "None of 1 trials is complete" in text
    assert "no values" in text


@pytest.mark.parametrize("log_x", [False, True])
def test_dots_lie_in_the_order_of_their_values(log_x: bool) -> None:
    svg = scatter_svg("a & b", [Dot(0.001, 1.0, "one"), Dot(0.1, 3.0, "two <2>", "best")], "x", log_x=log_x)
    across = [float(part.split('"')[0]) for part in svg.split('cx="')[1:]]
    down = [float(part.split('"')[0]) for part in svg.split('cy="')[1:]]
    assert across[0] < across[1]
    assert down[0] > down[1]
    assert "a &amp; b" in svg
    assert "two &lt;2&gt;" in svg


def test_the_page_does_not_ask_to_apply_what_is_set_already_and_shows_whole_faults() -> None:
    failed = {**trial(2, None), "fault": "a reason of many words " * 20 + "its end"}
    text = render_search_page(SearchPage(values(["distance"], [trial(0, 1.0), trial(1, 2.0), failed]), (), "today"))
    assert "No trial was better than the settings before the search" in text
    assert "genai search apply" not in text
    assert "its end" in text
