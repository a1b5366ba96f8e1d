"""One run at a time does the same job, and no lock file remains, however the runs end."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.process import Stopped
from flows.runs.job import Job
from flows.runs.one_at_a_time import FOLDER, locked_job, remove_stale_locks
from tests.flows.conftest import ROOT

INPUTS = {"cmd": "train", "deps": [{"path": "data", "md5": "1"}], "params": {"params.yaml": {"seed": 1}}}
JOB = Job("one", "c0ffee", "train@gan", INPUTS)
SAME = Job("other", "decaf", "train@gan", {**INPUTS}, attempt=2)
HOLDING = """
import sys
from pathlib import Path
from flows.runs.one_at_a_time import locked_job
from tests.flows.runs.test_one_at_a_time import JOB
with locked_job(JOB, Path(sys.argv[1]), lambda: False, print):
    print("held", flush=True)
    sys.stdin.read()
"""


def never() -> bool:
    return False


def unheard(_run: str) -> None:
    """For tests that ignore which run it waits for."""


def files(home: Path) -> list[Path]:
    return list((home / FOLDER).glob("*"))


def test_two_threads_with_the_same_job(tmp_path: Path) -> None:
    active, most, order = 0, 0, []

    def do(job: Job) -> None:
        nonlocal active, most
        for _ in range(3):
            with locked_job(job, tmp_path, never, unheard):
                active += 1
                most = max(most, active)
                time.sleep(0.02)
                active -= 1
                order.append(job.run)

    threads = [threading.Thread(target=do, args=(job,)) for job in (JOB, SAME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert sorted(order) == ["one"] * 3 + ["other"] * 3
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "other",
    [
        Job("other", "c0ffee", "train@vae", INPUTS),
        Job("other", "c0ffee", "train@gan", {**INPUTS, "params": {"params.yaml": {"seed": 2}}}),
        Job("other", "c0ffee", "train@gan", {**INPUTS, "cmd": "train -v"}),
    ],
)
def test_different_jobs_do_not_wait(tmp_path: Path, other: Job) -> None:
    with locked_job(JOB, tmp_path, never, unheard), locked_job(other, tmp_path, never, unheard):
        assert len(files(tmp_path)) == 2
    assert files(tmp_path) == []


def test_a_waiting_run_can_be_stopped(tmp_path: Path) -> None:
    looks, heard = iter([False, False, False, True]), list[str]()
    with locked_job(JOB, tmp_path, never, unheard):
        with pytest.raises(Stopped), locked_job(SAME, tmp_path, lambda: next(looks), heard.append):
            pytest.fail("two at once")
        assert heard == ["one"]  # reported once
        assert len(files(tmp_path)) == 1  # the first still has the lock
        remove_stale_locks(tmp_path)
        assert len(files(tmp_path)) == 1


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fault"), locked_job(JOB, tmp_path, never, unheard):
        raise ValueError("fault")
    assert files(tmp_path) == []
    with locked_job(SAME, tmp_path, never, unheard):
        pass


def test_a_killed_run_releases_the_lock_when_its_last_process_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    began = threading.Event()

    def wait() -> None:
        with locked_job(SAME, tmp_path, never, unheard):
            began.set()

    waiting = threading.Thread(target=wait)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiting.start()
        assert not began.wait(0.5)
    finally:
        holder.kill()
        holder.communicate()
    waiting.join(timeout=5.0)
    assert began.is_set()
    assert files(tmp_path) == []


def test_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    with locked_job(JOB, tmp_path, never, unheard) as held:
        (file,) = files(tmp_path)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[held])
        kept = tmp_path / "kept"
        kept.hardlink_to(file)
    kept.rename(file)  # as if the run was killed: its file exists, and its command has the lock
    try:
        remove_stale_locks(tmp_path)
        assert file.exists()
    finally:
        child.kill()
        child.communicate()
    remove_stale_locks(tmp_path)
    assert files(tmp_path) == []
    remove_stale_locks(tmp_path / "nowhere")
