"""What is printed before and after a run."""

import shutil
from pathlib import Path

import pytest

from flows.plan import Plan, StagePlan
from flows.runs.terminal import headline, print_results
from tests.flows.conftest import ROOT
from tests.flows.test_results import FIGURES, write


def plan_of(*stages: str) -> Plan:
    return Plan(tuple(StagePlan(stage, "keep", ()) for stage in stages))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A workspace in which a whole run has ended."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name in ("trained/gan", "trained/vae", "finetuned"):
        write(tmp_path / "metrics" / f"{name}.json", FIGURES)
    write(tmp_path / "reports" / "report.html", "")
    return tmp_path


def printed(workspace: Path, capsys: pytest.CaptureFixture[str], *stages: str) -> str:
    print_results(workspace, plan_of("prepare", *stages))
    return capsys.readouterr().out


def test_a_run_that_measures_nothing_shows_no_older_figures(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(measured, capsys) == ""


def test_a_run_shows_the_figures_that_its_stages_measure(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = printed(measured, capsys, "train@gan", "evaluate@gan").split("\n")[1:3]
    assert head.split()[:2] == ["model", "FD"]
    assert row.split()[:2] == ["trained/gan", "1.235"]
    shown = printed(measured, capsys, "evaluate@gan", "evaluate@vae", "evaluate-finetuned", "report")
    assert [line.split()[0] for line in shown.splitlines()[2:5]] == ["trained/gan", "trained/vae", "finetuned"]
    assert shown.endswith(f"\nReport: {measured / 'reports' / 'report.html'}\n")


def test_without_a_report_none_is_named(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (measured / "reports" / "report.html").unlink()
    assert "Report" not in printed(measured, capsys, "evaluate@gan", "report")


def test_the_headline_counts_what_becomes_of_the_stages() -> None:
    stages = [StagePlan("a", "run", ("new",)), StagePlan("b", "restore", ("old",)), StagePlan("c", "run", ("new",))]
    assert headline(Plan(tuple(stages))) == "3 stages: 2 to run, 1 to restore"
