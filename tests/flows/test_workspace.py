"""One run at a time in a workspace, and repair of DVC's files after an interrupted write."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows import workspace as workspace_module
from flows.data.add import track
from flows.gc.locks import runs_blocked
from flows.gc.roots import CollectError
from flows.graph import GraphError, open_repo
from flows.plan import plan_of
from flows.runs.record import RUNS, is_held, run_folder
from flows.workspace import check_lock_file, lock_owner, only_run_in, repair_locks
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, ROOT, genai, shell, wait_for

pytestmark = DVC_WARNS

HOLD = (
    "import os, subprocess, sys, time; from pathlib import Path; from flows.workspace import only_run_in\n"
    "with only_run_in(Path(sys.argv[1])) as held:\n"
    "    subprocess.Popen(['sleep', sys.argv[2]], pass_fds=[held])\n"
    "    print('held', flush=True); time.sleep(600)"
)


def holder(workspace: Path, left_s: float) -> "subprocess.Popen[str]":
    """A process that locks the workspace, and its child, which sleeps for that long."""
    command = [sys.executable, "-c", HOLD, str(workspace), str(left_s)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_run_names_the_running_process(tmp_path: Path) -> None:
    process = holder(tmp_path, 1.0)
    try:
        with pytest.raises(ConfigError, match=rf"another run is already running here \(process {process.pid}\)"):
            only_run_in(tmp_path).__enter__()
    finally:
        process.kill()
        process.communicate()
    with only_run_in(tmp_path):
        assert (tmp_path / ".genai" / "run.lock").read_text() == str(os.getpid())
    with only_run_in(tmp_path):
        pass


def test_waits_for_the_processes_of_a_killed_run(tmp_path: Path) -> None:
    process = holder(tmp_path, 1.5)
    began = time.monotonic()
    process.kill()  # and not reaped: a zombie does not count as running
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    with only_run_in(tmp_path):
        assert time.monotonic() - began > 1.0
    process.communicate()


def test_intact_workspace_is_unchanged(done: Path) -> None:
    before = (done / "dvc.lock").read_bytes()
    assert repair_locks(done) == []
    assert (done / "dvc.lock").read_bytes() == before
    (done / "dvc.lock").unlink()
    assert repair_locks(done) == []


def test_dvc_lock_that_dvc_is_writing_is_not_an_error(done: Path) -> None:
    """DVC empties the file for a moment while it holds its lock."""
    path, before = done / "dvc.lock", (done / "dvc.lock").read_bytes()
    with open_repo(done) as repo:
        repo.lock.lock()
        path.write_bytes(b"")

        def finish() -> None:
            path.write_bytes(before)
            repo.lock.unlock()

        timer = threading.Timer(0.3, finish)
        timer.start()
        assert repair_locks(done) == []
        timer.join()
    assert path.read_bytes() == before


def test_empty_uncommitted_dvc_lock_is_removed(done: Path) -> None:
    (done / "dvc.lock").write_bytes(b"")
    (said,) = repair_locks(done)
    assert said.startswith("dvc.lock was empty (an interrupted write); removed it")
    assert not (done / "dvc.lock").exists()
    assert [plan_of(done, []).count(action) for action in ("run", "restore", "keep")] == [0, 4, 1]


def test_read_only_commands_wait_for_a_dvc_lock_that_is_being_written(done: Path) -> None:
    path, before = done / "dvc.lock", (done / "dvc.lock").read_bytes()
    path.write_bytes(b"")
    timer = threading.Timer(0.1, path.write_bytes, [before])
    timer.start()
    check_lock_file(done)
    timer.join()
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"dvc\.lock is empty .*genai run repairs it"):
        check_lock_file(done)
    path.unlink()
    check_lock_file(done)


def test_empty_dvc_lock_while_dvc_is_busy(done: Path) -> None:
    (done / "dvc.lock").write_bytes(b"")
    with open_repo(done) as repo, repo.lock, pytest.raises(GraphError, match="Unable to acquire lock"):
        repair_locks(done)


@pytest.mark.parametrize("text", ["", '{"write": {"a'])
def test_a_broken_rwlock_is_removed(done: Path, text: str) -> None:
    path = done / ".dvc" / "tmp" / "rwlock"
    path.write_text(text)
    (said,) = repair_locks(done)
    assert said.startswith(".dvc/tmp/rwlock was truncated")
    assert repair_locks(done) == []
    subprocess.run(["dvc", "repro", "-q"], cwd=done, check=True)


@pytest.mark.parametrize("name", ["data/raw.dvc", "dvc.lock"])
def test_an_empty_committed_file_is_restored(done: Path, name: str) -> None:
    shell(done, "git add -A && git commit -q -m done")
    before = (done / name).read_bytes()
    (done / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"{name} is empty .*genai run repairs it"):
        check_lock_file(done)
    for command in (["plan"], ["data", "status"]):
        answer = genai(done, *command)
        assert (answer.returncode, "Traceback" in answer.stderr) == (2, False)
        assert f"{name} is empty" in answer.stderr
    (said,) = repair_locks(done)
    assert said.startswith(f"{name} was empty (an interrupted write); restored the committed one")
    assert (done / name).read_bytes() == before


def test_an_empty_source_that_no_commit_has(done: Path) -> None:
    shell(done, "git rm -q --cached --ignore-unmatch data/raw.dvc && git commit -q --allow-empty -m without")
    (done / "data/raw.dvc").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"rm data/raw\.dvc && dvc add data/raw"):
        repair_locks(done)
    track(done, "data/raw")  # as `genai data add` does
    assert repair_locks(done) == []
    assert plan_of(done, []).count("keep") == 5


def test_rwlock_that_another_run_removes_meanwhile(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = done / ".dvc" / "tmp" / "rwlock"
    path.write_text("")
    checks = iter([True, True])

    def is_broken(_path: Path) -> bool:
        path.unlink(missing_ok=True)
        return next(checks)

    monkeypatch.setattr(workspace_module, "_is_broken_json", is_broken)
    assert len(repair_locks(done)) == 1


COLLECT = (
    "import sys, time; from pathlib import Path; from flows.gc.locks import runs_blocked\n"
    "with runs_blocked([Path(sys.argv[1])]) as since:\n"
    "    print('held', since, flush=True); time.sleep(float(sys.argv[2]))"
)


@contextmanager
def collection(workspace: Path, seconds: float) -> Iterator[str]:
    """A process that holds the locks as `genai gc` does. Yields what it found to be active."""
    command = [sys.executable, "-c", COLLECT, str(workspace), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said[0] == "held"
        yield said[1]
        process.kill()


def test_runs_of_one_process_wait_for_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also longer than for the processes of a killed run, and if the lock file names this process or a dead one."""
    monkeypatch.setattr(workspace_module, "LEFTOVERS_S", 0.1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with only_run_in(tmp_path), run_folder(tmp_path, "20261128-101503-ab12"):
        pass
    for pid in (str(os.getpid()), str(gone.pid)):
        (tmp_path / ".genai/run.lock").write_text(pid)
        with collection(tmp_path, 1.0) as since:
            assert since == "None"
            began = time.monotonic()
            assert lock_owner(tmp_path, "run") is None
            assert not is_held(tmp_path / RUNS / "20261128-101503-ab12")
            with only_run_in(tmp_path), run_folder(tmp_path, "20261128-101503-ab12"):
                assert time.monotonic() - began > 0.6


def test_a_collection_beside_a_run_and_another_collection(tmp_path: Path) -> None:
    with only_run_in(tmp_path), collection(tmp_path, 60.0) as since:
        assert float(since) > 0
        with pytest.raises(CollectError, match="another `genai gc` is running"), runs_blocked([tmp_path]):
            pass
