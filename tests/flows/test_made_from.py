"""Whether a commit made a path, with the real DVC: stages read parts of outputs, and folders of outputs."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.data.stores import Stores
from flows.dvc_lock import Item, lock_at
from flows.git import commit_of
from flows.graph import open_repo, stage_name
from flows.made_from import differences
from tests.flows.conftest import DVC_WARNS, edit, shell

pytestmark = DVC_WARNS

PIPELINE = """
stages:
  prepare:
    cmd: mkdir -p prepared/own && cp data/raw/text prepared/set.json && cp data/raw/text prepared/own
    deps: [data/raw]
    outs: [prepared]
  train:
    foreach: [a, b]
    do:
      cmd: mkdir -p trained/${item} figures && cat prepared/*.json prepared/*/* | tee trained/${item}/m figures/${item}
      deps: [prepared/set.json, prepared/own]
      outs: ["trained/${item}"]
      metrics: ["figures/${item}": {cache: false}]
  select:
    cmd: mkdir -p selected && cat trained/*/m figures/* > selected/model
    deps: [trained, figures]
    outs: [selected]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/text").write_text("first")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / ".gitignore").write_text("/data/raw\n/prepared\n/trained\n/selected\n")
    shell(tmp_path, "git init -q -b main && dvc init -q && dvc add -q data/raw")
    run(tmp_path)
    return tmp_path


def run(home: Path, stages: str = "") -> None:
    shell(home, f"dvc repro -q {stages} && git add -A && git commit -q -m run")


def found(home: Path) -> list[str]:
    commit = commit_of(home)
    with open_repo(home) as repo:
        stores = Stores(repo)

        def files_of(item: Item) -> Mapping[str, str]:
            files = stores.files(item.md5)
            assert files is not None
            return files

        lock = lock_at(home, commit).of_stages({stage_name(stage) for stage in repo.index.stages})
        return differences(home, commit, lock, "selected", files_of)


def test_data_are_compared_in_outputs_and_in_folders_of_outputs(home: Path) -> None:
    assert found(home) == []
    (home / "data/raw/text").write_text("second")
    shell(home, "dvc add -q data/raw")
    run(home, "prepare")
    assert sorted(found(home)) == [f"train@{name}: prepared/{part}" for name in "ab" for part in ("own", "set.json")]
    run(home, "train")
    assert sorted(found(home)) == ["select: figures", "select: trained"]
    run(home)
    assert found(home) == []


def test_a_removed_stage_does_not_count(home: Path) -> None:
    """DVC keeps its entry in dvc.lock, and git its metrics, which are part of the folder that select reads."""
    edit(home / "dvc.yaml", "[a, b]", "[b]")
    shell(home, "rm -r trained/a")
    (home / "data/raw/text").write_text("second")
    shell(home, "dvc add -q data/raw")
    run(home)
    assert "train@a" in lock_at(home, commit_of(home)).stages
    assert found(home) == []
