"""Merging a retraining's branch into the user's branch, without losing the user's changes."""

from pathlib import Path

import pytest

from flows.retraining.branches import merge_into, push_branches
from tests.flows.conftest import shell


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """main with two files, and a branch that changes one and adds data/raw.dvc."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    for name in ("lock", "code"):
        (home / name).write_text(f"{name} 1\n")
    (home / ".gitignore").write_text(".genai/\n")
    shell(home, "git init -q -b main && git add -A && git commit -q -m first && git checkout -q -b retrain/x")
    (home / "lock").write_text("lock 2\n")
    (home / "data/raw.dvc").write_text("new\n")
    shell(home, "git add -A && git commit -q -m retrained && git checkout -q main")
    return home


def test_a_fast_forward_keeps_unrelated_changes(home: Path) -> None:
    (home / "code").write_text("somebody's\n")
    merged = merge_into(home, "main", "retrain/x", "title")
    assert merged.commit == shell(home, "git rev-parse retrain/x").strip()
    assert (home / "lock").read_text() == "lock 2\n"
    assert shell(home, "git status --porcelain").split() == ["M", "code"]


def test_a_merge_of_diverged_branches(home: Path) -> None:
    (home / "code").write_text("code 2\n")
    shell(home, "git commit -q -a -m theirs")
    merged = merge_into(home, "main", "retrain/x", "title")
    assert merged.commit is not None
    assert shell(home, "git log -1 --format=%s:%P").startswith("title:")
    assert ((home / "lock").read_text(), (home / "code").read_text()) == ("lock 2\n", "code 2\n")
    assert shell(home, "git status --porcelain") == ""


def test_uncommitted_data_does_not_block_the_merge(home: Path) -> None:
    (home / "data").mkdir(exist_ok=True)
    (home / "data/raw.dvc").write_text("new\n")
    assert merge_into(home, "main", "retrain/x", "title").commit is not None
    assert shell(home, "git status --porcelain") == ""


@pytest.mark.parametrize("obstacle", ["changed", "conflict", "other data", "elsewhere"])
def test_a_merge_that_would_lose_changes_is_left_to_the_user(home: Path, obstacle: str) -> None:
    if obstacle == "changed":
        (home / "lock").write_text("somebody's\n")
    elif obstacle == "conflict":
        (home / "lock").write_text("theirs\n")
        shell(home, "git commit -q -a -m theirs")
    elif obstacle == "other data":
        (home / "data").mkdir(exist_ok=True)
        (home / "data/raw.dvc").write_text("newer still\n")
    elif obstacle == "elsewhere":
        shell(home, "git checkout -q -b feature")
    before = shell(home, "git rev-parse HEAD main && git status --porcelain && cat lock")
    merged = merge_into(home, "main", "retrain/x", "title")
    assert merged.commit is None
    assert merged.note.endswith("to merge it into main: git merge retrain/x")
    assert shell(home, "git rev-parse HEAD main && git status --porcelain && cat lock") == before


def test_each_branch_is_pushed_separately(home: Path) -> None:
    assert "only on this machine" in push_branches(home, ["main"])
    bare = home.parent / "origin.git"
    shell(home, f"git init -q --bare {bare} && git remote add origin {bare}")
    shell(home, "git push -q origin retrain/x:main")  # somebody pushed earlier
    said = push_branches(home, ["main", "retrain/x"])
    assert "main was not pushed" in said
    assert "git push origin main" in said
    assert "retrain/x" in shell(bare, "git branch")
    bare.rename(home.parent / "gone")
    assert "was not pushed" in push_branches(home, ["retrain/x"])
