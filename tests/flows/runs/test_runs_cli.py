"""Output of `genai runs`, `genai status` and `genai logs` for active and ended runs."""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.git import git
from flows.runs.record import CHECKOUT, STOP, Recorder, RunRecord, StageRecord, log_file, run_folder
from flows.workspace import only_run_in

BEGAN = (datetime.now(UTC) - timedelta(hours=2, minutes=5)).isoformat(timespec="seconds")
RECORD = RunRecord(
    id="20261123-101010-ab12",
    snapshot="c0ffee" + "c" * 34,
    base="b" * 40,
    branch="main",
    changed=("params.yaml", os.fsdecode(b"by\xffte\n.py"), "third.py"),
    asked=(),
    began=BEGAN,
    place="",
    pid=os.getpid(),
    planned=("prepare", "train@gan", "train@vae"),
    stages={
        "prepare": StageRecord("ran", BEGAN, 12.34),
        "train@gan": StageRecord("running", BEGAN),
        "train@vae": StageRecord("restored", BEGAN, 0.1, left="params.yaml changed here after the run began"),
    },
)
MODELS = ({"model": "trained/gan", "FD": 7.5, "IS": "-"}, {"model": "trained/vae", "FD": 12.0, "IS": 3.0})
ENDED = replace(
    RECORD,
    id="20261122-101010-cd34",
    state="failed",
    message="failed: train@gan",
    ended=BEGAN,
    changed=(),
    branch=None,
    figures=MODELS,
)


def said(workspace: Path, *arguments: str, status: int = 0) -> str:
    answer = CliRunner().invoke(main, ["--workspace", str(workspace), *arguments])
    assert answer.exit_code == status, answer.output
    return answer.output


def remembered(workspace: Path, record: RunRecord) -> Path:
    with run_folder(workspace, record.id) as (folder, _):
        Recorder(folder, record)
    return folder


@contextmanager
def active_run(workspace: Path) -> Iterator[Recorder]:
    with run_folder(workspace, RECORD.id) as (folder, _):
        yield Recorder(folder, RECORD)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    return tmp_path


def test_nothing_yet(workspace: Path) -> None:
    assert said(workspace, "runs") == "no runs yet; `genai run` starts one\n"
    assert said(workspace, "status") == "nothing is running here\n"
    assert "no runs yet" in said(workspace, "logs", status=2)
    assert json.loads(said(workspace, "runs", "--json")) == []
    assert json.loads(said(workspace, "status", "--json")) == []
    assert not (workspace / ".genai").exists()


def test_a_table_of_runs(workspace: Path) -> None:
    remembered(workspace, ENDED)
    with active_run(workspace):
        head, failed, running = said(workspace, "runs").splitlines()
    assert head.split("  ")[0] == "id"
    began = f"{datetime.fromisoformat(BEGAN).astimezone():%Y-%m-%d %H:%M:%S}"  # local time, as in the id
    assert failed.split() == [
        ENDED.id,
        *began.split(),
        "failed",
        "1",
        "ran,",
        "1",
        "restored,",
        "1",
        "only",
        "in",
        "the",
        "cache",
        "7.5",
        "c0ffeec",
    ]
    assert running.startswith(f"{RECORD.id}  {began}  running")
    assert running.endswith("main, with uncommitted params.yaml, by\\udcffte\\n.py and 1 more")
    assert "killed" in said(workspace, "runs").splitlines()[-1]  # no process has the lock now


def test_one_run(workspace: Path) -> None:
    remembered(workspace, replace(ENDED, changed=RECORD.changed))
    text = said(workspace, "runs", "show", "cd34")
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == f"run {ENDED.id}: failed, failed: train@gan"
    assert "  differs: by\\udcffte\\n.py" in lines
    rows = [line.split() for line in lines]
    assert ["prepare", "ran", "12.3"] in rows
    assert "train@vae  restored      0.1  only in DVC's cache: params.yaml changed here after the run began" in lines
    assert ["trained/gan", "7.5", "-"] in rows
    values = json.loads(said(workspace, "runs", "show", "cd34", "--json"))
    assert (values["state"], values["stages"]["prepare"]["seconds"]) == ("failed", 12.34)
    assert "no run matches 'zz'" in said(workspace, "runs", "show", "zz", status=2)


def test_a_resumed_runs_duration_counts_from_its_resumption(workspace: Path) -> None:
    resumed = (datetime.now(UTC) - timedelta(minutes=3, seconds=5)).isoformat(timespec="seconds")
    with run_folder(workspace, RECORD.id) as (folder, _):
        Recorder(folder, replace(RECORD, resumed=resumed))
        assert re.match(rf"run {RECORD.id}: running for 3 min \d+ s \(", said(workspace, "status"))
        shown = said(workspace, "runs", "show", "ab12").splitlines()[1]
    assert re.fullmatch(r"started [-\d]+ [:\d]+, resumed [-\d]+ [:\d]+", shown)


def test_a_completed_run_is_not_resumed(workspace: Path) -> None:
    remembered(workspace, replace(ENDED, state="completed"))
    answer = said(workspace, "runs", "resume", "cd34", status=2)
    assert answer.startswith(f"run {ENDED.id} is completed: nothing is left to resume")


@pytest.mark.parametrize("inside", ["", "deep/project"])
def test_running_stages_and_their_progress(workspace: Path, inside: str) -> None:
    root = workspace / inside
    root.mkdir(parents=True, exist_ok=True)
    with active_run(root) as recorder:
        progress = recorder.folder / CHECKOUT / inside / ".genai" / "progress"
        progress.mkdir(parents=True)
        state = {"phase": "work", "unit": "steps", "done": 3, "total": 10, "per_second": 1.0, "seconds_left": 7.0}
        (progress / "train@gan.json").write_text(json.dumps({**state, "figures": {}}))
        (progress / "train@vae.json").write_text('{"half')
        first, second, third = said(root, "status").splitlines()
        assert re.match(
            rf"run {RECORD.id}: running for 2 h \d+ min \(process {os.getpid()}\), on main, with uncommitted", first
        )
        assert second == "  2 of 3 stages done"
        assert re.fullmatch(r"  train@gan: for 2 h \d+ min, work 3/10 steps  1/s  7 s left", third)
        (known,) = json.loads(said(root, "status", "--json"))
        assert known["progress"] == {"train@gan": {**state, "figures": {}}}
    assert said(root, "status").splitlines()[-1] == f"last run {RECORD.id}: killed"


def test_a_killed_run_whose_processes_are_ending(workspace: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with run_folder(workspace, RECORD.id) as (folder, _):
        Recorder(folder, replace(RECORD, pid=gone.pid))
        answer = f"run {RECORD.id}: its process {gone.pid} was killed; its other processes are ending\n"
        assert said(workspace, "status") == answer


def test_a_retraining_between_two_runs(workspace: Path) -> None:
    remembered(workspace, ENDED)
    with only_run_in(workspace, "retraining"):
        answer = f"a retraining is running (process {os.getpid()}), at present without a run\n"
        assert said(workspace, "status") == answer
        with run_folder(workspace, RECORD.id) as (folder, _):
            Recorder(folder, replace(RECORD, place=".genai/worktrees/retrain-x"))
            assert "a retraining is running" not in said(workspace, "status")
    assert said(workspace, "status").startswith("nothing is running here\n")


def test_a_run_of_a_retraining(workspace: Path) -> None:
    place = workspace / ".genai" / "worktrees" / "retrain-x"
    (place / ".genai" / "progress").mkdir(parents=True)
    (place / ".genai" / "progress" / "train@gan.json").write_text('{"total": 0}')
    with run_folder(workspace, RECORD.id) as (folder, _):
        Recorder(folder, replace(RECORD, place=".genai/worktrees/retrain-x", changed=()))
        assert "on .genai/worktrees/retrain-x" in said(workspace, "status")
        assert json.loads(said(workspace, "status", "--json"))[0]["progress"] == {"train@gan": {"total": 0}}


def test_stop(workspace: Path) -> None:
    ended = remembered(workspace, ENDED)
    assert f"run {ENDED.id} is not running; its state is failed" in said(workspace, "runs", "stop", "cd34", status=2)
    assert not (ended / STOP).exists()

    begun = threading.Event()

    def work() -> None:
        with active_run(workspace) as recorder:
            begun.set()
            while not (recorder.folder / STOP).exists():
                time.sleep(0.01)
            recorder.set(state="stopped")

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(5.0)
    hint = f"to resume: `genai run` if nothing has changed since, else `genai runs resume {RECORD.id}`"
    assert said(workspace, "runs", "stop", "ab12") == f"stopped {RECORD.id}; {hint}\n"
    thread.join()
    assert "stopped" in said(workspace, "runs").splitlines()[-1]


def test_logs(workspace: Path) -> None:
    folder = remembered(workspace, ENDED)
    log_file(folder, "prepare").write_text("one\n  two\n")
    log_file(folder, "train@gan").write_text("three\n")
    os.utime(log_file(folder, "prepare"), (1, 1))
    assert said(workspace, "logs", "prepare") == "one\n  two\n"
    assert said(workspace, "logs").split() == ["prepare", "one", "prepare", "two", "train@gan", "three"]
    assert "has no log of 'nothing'; it has logs of: prepare, train@gan" in said(workspace, "logs", "nothing", status=2)
    log_file(folder, "train@vae").write_text("four\n")
    os.utime(log_file(folder, "train@gan"), (2, 2))
    assert said(workspace, "logs", "train").split() == ["train@gan", "three", "train@vae", "four"]
    assert said(workspace, "logs", "train@vae") == "four\n"
    assert "has no log of 'tra'" in said(workspace, "logs", "tra", status=2)
    remembered(workspace, RECORD)
    assert said(workspace, "logs") == ""  # of the last run
    told = said(workspace, "logs", "prepare", status=2)
    assert told.rstrip().endswith(
        f"it has logs of: no stage; the newest log of it: genai logs prepare --run {ENDED.id}"
    )
    assert said(workspace, "logs", "--run", "cd34", "prepare") == "one\n  two\n"


def test_logs_while_they_are_written(workspace: Path) -> None:
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        with active_run(workspace) as recorder, log_file(recorder.folder, "more/dvc.yaml:last").open("a") as file:
            for number in range(3):
                file.write(f"line {number}\n")
                file.flush()
                begun.set()
                time.sleep(0.2)
            over.wait(5.0)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(5.0)
    threading.Timer(0.8, over.set).start()
    lines = said(workspace, "logs", "--follow").splitlines()
    thread.join()
    assert lines == [f"{'more/dvc.yaml:last':<18} line {number}" for number in range(3)]
