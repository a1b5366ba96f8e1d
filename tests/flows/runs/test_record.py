"""Records of runs: complete at any time, correct for killed runs, and deleted after a while."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flows.git import git
from flows.runs import record as module
from flows.runs.record import (
    LOCK,
    RUNS,
    STOP,
    Recorder,
    RunError,
    RunRecord,
    StageRecord,
    ended,
    find_resumable,
    find_run,
    forget_old_runs,
    is_held,
    log_file,
    logged_stages,
    read_run,
    read_runs,
    run_folder,
)
from flows.runs.snapshot import REFS, Snapshot, keep_snapshot
from tests.flows.conftest import ROOT

RECORD = RunRecord(
    id="20261123-101010-ab12",
    snapshot="c" * 40,
    base="b" * 40,
    branch="main",
    changed=("params.yaml", os.fsdecode(b"by\xffte\n.py")),
    asked=("train",),
    began="2026-11-23T10:10:10+00:00",
    place="",
    pid=os.getpid(),
    planned=("train@gan", "train@vae"),
)
HOLDING = """
import sys
from pathlib import Path
from flows.runs.record import run_folder
with run_folder(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def remembered(home: Path, *ids: str, state: str = "completed") -> None:
    for run in ids:
        with run_folder(home, run) as (folder, _):
            Recorder(folder, replace(RECORD, id=run, state=state))  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    with run_folder(tmp_path, RECORD.id) as (folder, _):
        recorder = Recorder(folder, RECORD)
        assert read_runs(tmp_path) == [RECORD]
        recorder.stage("train@gan", outcome="running", began="2026-11-23T10:10:11+00:00")
        recorder.stage("train@gan", outcome="ran", seconds=3.5)
        recorder.stage("train@vae", outcome="kept", began="2026-11-23T10:10:12+00:00", left="params.yaml changed")
        recorder.set(state="completed", ended="2026-11-23T10:10:20+00:00", figures=({"model": "gan", "FD": 1.5},))
        stages = {
            "train@gan": StageRecord("ran", "2026-11-23T10:10:11+00:00", 3.5),
            "train@vae": StageRecord("kept", "2026-11-23T10:10:12+00:00", left="params.yaml changed"),
        }
        assert recorder.record.stages == stages
        assert read_run(folder) == recorder.record
    assert read_run(folder) == recorder.record
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "logs", "run.json"]


def test_a_resumed_run_keeps_the_outcomes_of_earlier_attempts(tmp_path: Path) -> None:
    began = "2026-11-23T10:10:11+00:00"
    before = {
        "prepare": StageRecord("ran", began, 12.5, left="params.yaml changed"),
        "reference": StageRecord("restored", began, 0.5),
        "train@gan": StageRecord("ran", began, 44.5),
        "train@vae": StageRecord("ran", began, 30.0),
        "select": StageRecord("kept", began),
    }
    with run_folder(tmp_path, RECORD.id) as (folder, _):
        recorder = Recorder(folder, replace(RECORD, stages=before))
        recorder.finished("prepare", "restored", 0.2)
        recorder.finished("reference", "kept", 0.0)
        recorder.started("train@gan")  # its result was lost
        assert recorder.record.stages["train@gan"].began > began
        recorder.finished("train@gan", "ran", 45.678)
        recorder.finished("train@vae", "stopped", 1.0)  # while being restored
        recorder.finished("select", "failed", 1.0)
        recorder.finished("report", "restored", 1.0)
        after = recorder.record.stages
    assert (after["prepare"], after["reference"]) == (StageRecord("ran", began, 12.5), before["reference"])
    assert (after["train@gan"].outcome, after["train@gan"].seconds) == ("ran", 45.68)
    assert after["train@vae"] == before["train@vae"]
    assert [after[name].outcome for name in ("select", "report")] == ["failed", "restored"]
    assert recorder.done == {"prepare", "reference", "train@gan", "report"}


def test_a_completed_run_cannot_be_resumed(tmp_path: Path) -> None:
    remembered(tmp_path, "20261123-101010-ab12")
    with pytest.raises(RunError, match=r"20261123-101010-ab12 is completed: .*in DVC's cache.*`genai run` restores"):
        find_resumable(tmp_path, "ab12")
    for state in ("failed", "stopped"):
        remembered(tmp_path, "20261123-101010-ab12", state=state)
        assert find_resumable(tmp_path, "ab12").state == state


def test_many_threads_write_one_record(tmp_path: Path) -> None:
    names = [f"stage{number}" for number in range(40)]
    with run_folder(tmp_path, RECORD.id) as (folder, _):
        recorder, over, faults = Recorder(folder, RECORD), threading.Event(), []

        def read() -> None:
            while not over.is_set():
                try:
                    json.loads((folder / "run.json").read_text())
                except ValueError as fault:
                    faults.append(fault)

        reader = threading.Thread(target=read)
        reader.start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: recorder.stage(name, outcome="ran", seconds=1.0), names))
        over.set()
        reader.join()
        assert not faults
        record = read_run(folder)
        assert record is not None
        assert set(record.stages) == set(names)


def test_a_killed_run_is_shown_as_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path), RECORD.id]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        folder = tmp_path / RUNS / RECORD.id
        Recorder(folder, RECORD)
        assert is_held(folder)
        assert find_run(tmp_path, "ab12").state == "running"
        (folder / STOP).touch()
        with pytest.raises(RunError, match=f"run {RECORD.id} is active"), run_folder(tmp_path, RECORD.id):
            pass
        assert (folder / STOP).exists()  # the request to stop is still there
        with ended(folder) as has_ended:
            assert not has_ended
    finally:
        holder.kill()
        holder.communicate()
    assert not is_held(folder)
    assert find_run(tmp_path, "ab12").state == "killed"
    assert json.loads((folder / "run.json").read_text())["state"] == "running"  # reading does not write
    with run_folder(tmp_path, RECORD.id):
        assert is_held(folder)
        assert not (folder / STOP).exists()


def test_a_killed_run_is_alive_while_its_processes_are(tmp_path: Path) -> None:
    with run_folder(tmp_path, RECORD.id) as (folder, lock):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    try:
        assert is_held(folder)
    finally:
        child.kill()
        child.communicate()
    assert not is_held(folder)


def test_checking_a_run_does_not_disturb_others(tmp_path: Path) -> None:
    """Many threads check at once whether an ended run is alive: all see it ended, and it can begin again."""
    remembered(tmp_path, RECORD.id)
    folder, over, wrong = tmp_path / RUNS / RECORD.id, threading.Event(), []

    def look() -> None:
        while not over.is_set():
            if is_held(folder):
                wrong.append(1)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            is_held(folder)
        assert not wrong
        for _ in range(5):
            with run_folder(tmp_path, RECORD.id):
                pass
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_runs_are_found_by_the_ends_of_their_ids(tmp_path: Path) -> None:
    remembered(tmp_path, "20261123-101010-ab12", "20261123-101010-ab13", "20261124-101010-ab12")
    assert find_run(tmp_path, "ab13").id == "20261123-101010-ab13"
    assert find_run(tmp_path, "20261124").id == "20261124-101010-ab12"
    assert find_run(tmp_path, "20261123-101010-ab12").id == "20261123-101010-ab12"
    for name, said in (("ab12", "2 runs match 'ab12'"), ("101010", "no run matches"), ("", "no run matches")):
        with pytest.raises(RunError, match=f"{said}.*`genai runs` lists them"):
            find_run(tmp_path, name)
    assert [run.id for run in read_runs(tmp_path)] == sorted(run.id for run in read_runs(tmp_path))


def test_invalid_records_are_skipped(tmp_path: Path) -> None:
    remembered(tmp_path, RECORD.id)
    (tmp_path / RUNS / "half").mkdir()
    (tmp_path / RUNS / "broken").mkdir()
    (tmp_path / RUNS / "broken" / "run.json").write_text('{"id": "bro')
    (tmp_path / RUNS / "older").mkdir()
    (tmp_path / RUNS / "older" / "run.json").write_text('{"id": "older", "stages": {}}')
    (tmp_path / RUNS / "file").touch()
    assert [run.id for run in read_runs(tmp_path)] == [RECORD.id]
    assert not (tmp_path / RUNS / "half" / LOCK).exists()  # reading leaves no files
    assert read_runs(tmp_path / "nowhere") == []


def test_old_runs_are_forgotten_with_their_snapshots(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDED", 2)
    head = git(fresh, "rev-parse", "HEAD").strip()
    snapshot = Snapshot(head, "", head, "main", (), ())
    ids = [f"2026112{number}-101010-aaaa" for number in range(5)]
    remembered(fresh, *ids)
    for run in [*ids, "somebody-took-its-folder-away"]:
        keep_snapshot(fresh, run, snapshot)
    git(fresh, "update-ref", "refs/genai/other", head)

    with run_folder(fresh, ids[1]):  # it is alive
        forget_old_runs(fresh)
        assert [run.id for run in read_runs(fresh)] == [ids[1], *ids[3:]]
    refs = git(fresh, "for-each-ref", "--format=%(refname)", "refs/genai").split()
    assert refs == ["refs/genai/other", *(f"{REFS}{run}" for run in (ids[1], *ids[3:]))]
    forget_old_runs(fresh)
    assert [run.id for run in read_runs(fresh)] == ids[3:]


def test_a_run_that_begins_during_the_cleanup_keeps_its_snapshot(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(fresh, "rev-parse", "HEAD").strip()
    remembered(fresh, RECORD.id)

    def another_begins(folder: Path, *arguments: str, **options: object) -> str:
        if arguments[0] == "for-each-ref":
            remembered(fresh, "new", state="running")
            keep_snapshot(fresh, "new", Snapshot(head, "", head, "main", (), ()))
        return git(folder, *arguments)

    monkeypatch.setattr(module, "git", another_begins)
    forget_old_runs(fresh)
    assert git(fresh, "rev-parse", f"{REFS}new").strip() == head


def test_logs_of_stages_with_any_name(tmp_path: Path) -> None:
    with run_folder(tmp_path, RECORD.id) as (folder, _):
        for stage in ("train@gan", "more/dvc.yaml:last", "größe", "50%"):
            log_file(folder, stage).write_text("x")
        assert set(logged_stages(folder)) == {"train@gan", "more/dvc.yaml:last", "größe", "50%"}
