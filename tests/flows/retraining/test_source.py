"""What a retraining takes, what it leaves alone, and what keeps it from starting."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from flows.retraining.approval import answer
from flows.retraining.source import RetrainError, check_can_start, config_at, find_source
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, edit, set_parameter, shell

pytestmark = DVC_WARNS


def test_committed_data_and_a_person_at_work(done: Path) -> None:
    shell(done, "git add -A && git commit -q -m done")
    edit(done / "work.py", '"""What', '"""Somebody changes what')
    source = find_source(done)
    assert (source.commit, source.branch, source.added) == (shell(done, "git rev-parse HEAD").strip(), "main", None)
    assert source.notes == ("not committed, so not used: work.py",)
    check_can_start(done, source)


def test_data_that_nobody_committed_are_taken(done: Path) -> None:
    before = find_source(done).raw
    (done / "data/raw/new.txt").write_text("an image")
    shell(done, "dvc add -q data/raw")
    source = find_source(done)
    assert source.raw != before
    assert source.added == (done / "data/raw.dvc").read_bytes()
    assert "data/raw.dvc is not committed" in source.notes[0]


def test_no_branch_no_data_no_repository(done: Path, tmp_path: Path) -> None:
    shell(done, "git checkout -q --detach")
    with pytest.raises(RetrainError, match=r"HEAD is detached.*git switch BRANCH"):
        find_source(done)
    shell(done, "git checkout -q main && git rm -q --cached data/raw.dvc && git commit -q -m none && rm data/raw.dvc")
    with pytest.raises(RetrainError, match="there is no data yet"):
        find_source(done)
    with pytest.raises(RetrainError, match="no git repository here"):
        find_source(tmp_path)


def test_thresholds_of_the_commit_are_checked(done: Path) -> None:
    set_parameter(done, "retrain.train_changed_share", 0.001)
    config_at(done, "HEAD")  # what is not committed is not used
    shell(done, "git commit -q -a -m nonsense")
    with pytest.raises(ConfigError, match=r"train_changed_share: got 0\.001; allowed: at least"):
        config_at(done, "HEAD")


def test_a_full_disk_and_nobody_known_to_git(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(done, "git add -A && git commit -q -m done")
    source = find_source(done)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "")
    with pytest.raises(RetrainError, match=r"git does not know who commits.*git config user\.name"):
        check_can_start(done, source)
    monkeypatch.undo()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10, 10, 0))
    with pytest.raises(RetrainError, match=r"0\.0 GB free, a retraining may write .* free some space"):
        check_can_start(done, source)


def test_nobody_waits_for_an_answer(tmp_path: Path) -> None:
    with pytest.raises(RetrainError, match="no retraining of this checkout waits"):
        answer(tmp_path, None, promote=True, note="")
