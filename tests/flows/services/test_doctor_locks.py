"""`genai doctor`: which locks it takes for those of the dead."""

import subprocess
from pathlib import Path

import pytest

from flows.collecting import collecting
from flows.gc.locks import runs_blocked
from flows.runs.checkout import WORKTREES
from flows.runs.record import run_folder
from flows.services.doctor_locks import check_locks
from flows.workspace import only_run_in
from tests.flows.conftest import shell

RUN = "20261128-101503-ab12"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shell(tmp_path, "git init -q")
    return tmp_path


def test_live_run_and_collection_are_healthy(home: Path) -> None:
    with run_folder(home, RUN), only_run_in(home, "retraining"):
        assert check_locks(home).status == "ok"
        with runs_blocked([home]):
            assert check_locks(home).status == "ok"
    with collecting(home), runs_blocked([home.parent]):
        assert check_locks(home).status == "ok"


def test_what_a_killed_run_left_is_named(home: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with run_folder(home, RUN) as (folder, descriptor):
        left = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    try:
        (folder / "lock").write_text(str(gone.pid))
        check = check_locks(home)
    finally:
        left.kill()
        left.wait()
    assert check.status == "fail"
    assert f"still held by processes of a dead run: process {left.pid}" in check.found


def test_worktree_of_a_project_in_a_subfolder(home: Path) -> None:
    project = home / "projects" / "faces"
    worktree = project / WORKTREES / "retrain-x" / "projects" / "faces"
    worktree.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with only_run_in(worktree):
        assert check_locks(project).status == "ok"
        (worktree / ".genai/run.lock").write_text(str(gone.pid))
        assert check_locks(project).status == "fail"


def test_empty_source_file(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data/raw.dvc").touch()
    assert check_locks(home).status == "warn"
    assert "data/raw.dvc is empty" in check_locks(home).found
