"""A run at the git remote: any clone can read it, and says why if it cannot."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from flows.git import commit_of, git
from flows.runs.publication import KEEP_DAYS, fetch_published, is_forgotten, publish, published_runs, withdraw
from flows.runs.record import RunError, RunRecord
from flows.runs.snapshot import REFS
from tests.flows.clones import fresh_clone
from tests.flows.conftest import shell
from tests.flows.runs.test_record import RECORD

OTHER = replace(RECORD, id="20261124-101010-cd12")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "alpha"
    shell(tmp_path, f"git init -q -b main {folder} && git init -q --bare {tmp_path / 'origin.git'}")
    shell(folder, f"git commit -q --allow-empty -m first && git remote add origin {tmp_path / 'origin.git'}")
    shell(folder, "git push -q origin main")
    return folder


def published(workspace: Path, record: RunRecord) -> RunRecord:
    """The record at the remote, of a snapshot that no branch has."""
    commit = git(workspace, "commit-tree", "HEAD^{tree}", "-m", record.id).strip()
    own = replace(record, snapshot=commit, base=commit_of(workspace), executor="pool")
    publish(workspace, "origin", own.id, commit, own)
    return own


def test_a_clone_reads_a_run_and_has_its_snapshot(workspace: Path) -> None:
    first, other = published(workspace, RECORD), published(workspace, OTHER)
    clone = fresh_clone(workspace.parent / "origin.git", workspace.parent / "beta")
    assert published_runs(clone, "origin") == [RECORD.id, OTHER.id]
    found = fetch_published(clone, "ab12")
    assert found is not None
    assert found.record == replace(first, pid=0)
    assert str(workspace) in found.holder
    # As in the workspace itself: a reference keeps the commit.
    assert git(clone, "rev-parse", f"{REFS}{RECORD.id}").strip() == first.snapshot
    assert "published" not in git(clone, "for-each-ref")
    with pytest.raises(RunError, match=r"2 runs at the git remote origin match '12': 20261123.*, 20261124"):
        fetch_published(clone, "12")
    assert fetch_published(clone, "ff00") is None
    withdraw(workspace, "origin", [first.id])
    withdraw(workspace, "origin", [])
    assert published_runs(clone, "origin") == [other.id]


def test_what_cannot_be_taken_over_says_why(workspace: Path) -> None:
    published(workspace, RECORD)
    publish(workspace, "origin", OTHER.id, commit_of(workspace), None)  # a snapshot alone, as older code pushed it
    clone = fresh_clone(workspace.parent / "origin.git", workspace.parent / "beta")
    with pytest.raises(RunError, match="cannot be taken over: another version of this code published it"):
        fetch_published(clone, OTHER.id)
    (clone / "project").mkdir()
    with pytest.raises(RunError, match="is one of another project of this repository: the one at its top"):
        fetch_published(clone / "project", RECORD.id)
    shell(clone, "git remote remove origin")
    assert fetch_published(clone, RECORD.id) is None


def test_old_runs_are_forgotten() -> None:
    old, young = (datetime.now() - timedelta(days=days) for days in (KEEP_DAYS + 1, KEEP_DAYS - 1))
    assert is_forgotten(f"{old:%Y%m%d-%H%M%S}-ab12")
    assert not is_forgotten(f"{young:%Y%m%d-%H%M%S}-ab12")
    assert not is_forgotten("somebody else's")
