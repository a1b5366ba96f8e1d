"""Find a model by name, and the command in a repository without a reference."""

from pathlib import Path

import pytest

from flows.measuring.comparison import ComparisonError, find_model, model_of, replace_files
from tests.flows.conftest import DVC_WARNS, genai, shell
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def home(_own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates in two commits. The older one is registered and in production."""
    folder = new_home(tmp_path_factory.mktemp("home"))
    make(folder, 3.0)
    answer = genai(folder, "promote")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    make(folder, 2.0)
    return folder


@pytest.mark.parametrize("name", ["prod", "v0.0.1", "HEAD~1"])
def test_candidate_of_another_commit_comes_from_the_cache(home: Path, tmp_path: Path, name: str) -> None:
    before = shell(home, "git status --porcelain && cat models/candidate/selection.json")
    found = find_model(home, name, tmp_path / "model")
    assert '"fd": 3.0' in (found / "selection.json").read_text()
    assert (found / "model.safetensors").read_bytes() == (home / "data/raw/model.safetensors").read_bytes()
    assert shell(home, "git status --porcelain && cat models/candidate/selection.json") == before


def test_folders_and_names_of_this_workspace_come_first(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout in which the demo has run has a models/candidate, too
    for name in ("candidate", "models/candidate", str(home / "models/candidate")):
        assert find_model(home, name, tmp_path / "model") == home / "models/candidate"
    assert not (tmp_path / "model").exists()


def test_unknown_name_says_where_it_was_searched_for(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="not a model folder, a model in models/, a version"):
        find_model(home, "v9.9.9", tmp_path / "model")
    shell(home, "git tag empty $(git commit-tree -m none $(git mktree </dev/null))")
    with pytest.raises(ComparisonError, match="has no models/candidate"):
        model_of(home, "empty", tmp_path / "model")


def test_command_fails_with_the_tasks_line_and_leaves_nothing(home: Path) -> None:
    shell(home, "cp -r models/candidate models/other")
    answer = genai(home, "compare", "candidate", "prod")
    assert answer.returncode == 2
    assert "compare:" in answer.stderr
    assert not (home / ".genai/compare").exists()
    assert [path for path in (home / ".genai/scratch").iterdir() if path.is_dir()] == []


def test_only_the_compared_files_are_replaced(tmp_path: Path) -> None:
    new, out = tmp_path / "new", tmp_path / "results"
    for folder, text in ((new, "new"), (out, "old")):
        folder.mkdir()
        for name in ("comparison.json", "samples.png", "closest.png"):
            (folder / name).write_text(text)
    (out / "thesis.txt").write_text("mine")
    inode = out.stat().st_ino
    replace_files(new, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "comparison.json": "new",
        "samples.png": "new",
        "closest.png": "new",
        "thesis.txt": "mine",
    }
    assert out.stat().st_ino == inode
    replace_files(new, tmp_path / "a" / "b")
    assert len(list((tmp_path / "a" / "b").iterdir())) == 3
