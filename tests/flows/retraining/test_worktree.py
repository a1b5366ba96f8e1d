"""A retraining's worktree: its line of params.yaml, its branch, and checks before it starts."""

import shutil
from collections import namedtuple
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from flows.git import commit_of
from flows.registry.interrupted import Delivery, unfinished, write_delivery
from flows.retraining import RetrainError
from flows.retraining.facts import StartPoint, find_start_point
from flows.retraining.worktree import (
    _free_name,
    check_can_start,
    close_worktree,
    open_for_retraining,
    read_purpose,
)
from flows.runs.checkout import commit_results
from tests.flows.conftest import DVC_WARNS, shell


def test_the_branch_name_is_unused_in_every_clone(tmp_path: Path) -> None:
    shell(tmp_path, "git init -q -b main && git commit -q --allow-empty -m first")
    day, raw = date(2026, 11, 28), "0123456789abcdef.dir"
    assert _free_name(tmp_path, day, raw) == "retrain/2026-11-28-0123456789"
    shell(tmp_path, "git branch retrain/2026-11-28-0123456789")
    shell(tmp_path, "git update-ref refs/remotes/origin/retrain/2026-11-28-0123456789-2 HEAD")
    assert _free_name(tmp_path, day, raw) == "retrain/2026-11-28-0123456789-3"


@DVC_WARNS
def test_a_full_disk_and_a_missing_git_identity(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(done, "git add -A && git commit -q -m done")
    start = find_start_point(done)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "")
    with pytest.raises(RetrainError, match=r"git has no author for commits.*git config user\.name"):
        check_can_start(done, start)
    monkeypatch.undo()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10, 10, 0))
    with pytest.raises(RetrainError, match=r"0\.0 GB free; a retraining may write .*Free some space"):
        check_can_start(done, start)


@DVC_WARNS
def test_a_project_in_a_subfolder_of_its_repository(tmp_path: Path) -> None:
    home = tmp_path / "projects/home"
    (home / "data/raw").mkdir(parents=True)
    (home / "data/raw/one").write_text("1")
    shell(tmp_path, "git init -q -b main")
    shell(home, "dvc init -q --subdir && dvc add -q data/raw && echo .genai/ > .gitignore")
    shell(home, "cp data/raw.dvc params.yaml && git add -A && git commit -q -m data")
    start = StartPoint(commit_of(home), "0123456789.dir", "main", "here", (home / "data/raw.dvc").read_bytes(), ())
    worktree, purpose = open_for_retraining(home, start, "v0.0.1", date(2026, 11, 28))
    assert worktree.folder == worktree.root / "projects/home"
    assert (worktree.folder / "data/raw.dvc").is_file()
    shell(worktree.folder, "dvc checkout -q")  # from the shared cache
    again, _ = open_for_retraining(home, start, "v0.0.1", date(2026, 11, 28))
    assert again == replace(worktree, resumed=True)

    (worktree.folder / "params.yaml").write_text("other: 1")
    commit = commit_results(worktree, "results")
    assert commit is not None
    write_delivery(worktree.folder, Delivery(commit, "main", 0.0, (), ()))
    shell(home, f"git tag -a -m v1 candidate@v0.0.2 {commit}")
    (left,) = unfinished(home)
    assert left.worktree == again
    assert read_purpose(left.worktree.folder) == purpose
    close_worktree(home, left.worktree, None)
    assert not worktree.root.exists()
    assert len(shell(home, "git worktree list").splitlines()) == 1
