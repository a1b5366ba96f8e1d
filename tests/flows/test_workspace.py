"""One run at a time in a workspace, and repair of DVC's files after an interrupted write."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows.graph import GraphError, open_repo
from flows.plan import plan_of
from flows.workspace import check_lock_file, only_run_in, repair_locks
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, ROOT, wait_for

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
