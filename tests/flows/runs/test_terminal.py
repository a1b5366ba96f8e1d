"""Output before and after a run."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.plan import Plan, StagePlan
from flows.runs.record import RunRecord, StageRecord
from flows.runs.terminal import headline, print_results
from tests.flows.conftest import ROOT
from tests.flows.runs.test_record import RECORD
from tests.flows.test_results import FIGURES, write


def plan_of(*stages: str) -> Plan:
    return Plan(tuple(StagePlan(stage, "keep", ()) for stage in stages))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A workspace after a complete run."""
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


def test_a_missing_report_is_not_named(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (measured / "reports" / "report.html").unlink()
    assert "Report" not in printed(measured, capsys, "evaluate@gan", "report")


MODELS = ({"model": "trained/gan", "FD": 7.5}, {"model": "trained/vae", "FD": 12.0})


def ended(report: StageRecord) -> RunRecord:
    stages = {"evaluate@gan": StageRecord("restored", ""), "evaluate@vae": StageRecord("ran", ""), "report": report}
    return replace(RECORD, state="completed", stages=stages, figures=MODELS)


def test_a_run_shows_its_own_figures_whatever_was_planned_first(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed run restores stages that its first attempt kept and therefore did not plan."""
    print_results(measured, plan_of("evaluate@vae", "evaluate-finetuned"), ended(StageRecord("ran", "")))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [["model", "FD"], ["trained/gan", "7.5"], ["trained/vae", "12.0"]]
    assert lines[-1] == f"Report: {measured / 'reports' / 'report.html'}"


@pytest.mark.parametrize("report", [StageRecord("ran", "", left="params.yaml changed"), StageRecord("skipped", "")])
def test_a_report_that_did_not_reach_the_checkout_is_not_named(
    measured: Path, capsys: pytest.CaptureFixture[str], report: StageRecord
) -> None:
    """The checkout has an older one."""
    print_results(measured, plan_of("evaluate@vae", "report"), ended(report))
    said = capsys.readouterr().out
    assert "trained/vae" in said
    assert "Report" not in said


def test_the_command_says_at_once_until_when_edits_count(done: Path) -> None:
    reader, writer = os.openpty()
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(done), "run"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True) as process:
        said = os.read(reader, 1000).decode()
        assert process.stdout is not None
        assert process.poll() is None
        assert process.stdout.read() == "5 stages: 5 to keep\n"
    os.close(writer)
    os.close(reader)
    assert said == "until it prints `run ID works on a snapshot`, your edits become part of this run\r\n"


def test_the_headline_counts_the_stages_by_action() -> None:
    stages = [StagePlan("a", "run", ("new",)), StagePlan("b", "restore", ("old",)), StagePlan("c", "run", ("new",))]
    assert headline(Plan(tuple(stages))) == "3 stages: 2 to run, 1 to restore"
