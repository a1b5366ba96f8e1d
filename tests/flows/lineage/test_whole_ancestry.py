"""The commit of an entry has the code, parameters and data of everything upstream, and stays the same."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.data.stores import Stores
from flows.git import commit_of, git
from flows.graph import open_repo
from flows.hashes import folder_hash
from flows.lineage.ancestry import History
from flows.runs.record import RUNS
from flows.runs.snapshot import keep_snapshot, take_snapshot
from tests.flows.conftest import DVC_WARNS
from tests.flows.toy_home import shell

pytestmark = DVC_WARNS

YAML_FILE = YAML(typ="safe")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Project:
    """A git project with hand-written lock files, as `genai run` would leave them: raw -> prepare -> train -> copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("dvc.yaml", {})
        self.raw, self.size, self.rate = "A", 8, 0.1
        self.code = {"prepare.py": "1", "train.py": "1"}
        self.edited()

    def write(self, name: str, values: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            YAML_FILE.dump(values, file)

    def edited(self) -> None:
        """Write code, parameters and the data's version, but not dvc.lock."""
        for name, text in self.code.items():
            (self.folder / name).write_text(text)
        self.write("params.yaml", {"data": {"size": self.size}, "rate": self.rate})
        self.write("data/raw.dvc", {"outs": [{"path": "raw", "md5": md5(self.raw)}]})

    @property
    def prepared(self) -> str:
        return md5(f"{self.raw} {self.size} {self.code['prepare.py']}")

    @property
    def trained(self) -> str:
        return md5(f"{self.prepared} {self.rate} {self.code['train.py']}")

    def entries(self) -> dict[str, Any]:
        """dvc.lock's entries of a run of everything."""
        code = {name: {"path": name, "md5": md5(text)} for name, text in self.code.items()}
        raw, prepared = {"path": "data/raw", "md5": md5(self.raw)}, {"path": "data/prepared", "md5": self.prepared}
        trained, copied = {"path": "models/t", "md5": self.trained}, {"path": "models/candidate", "md5": self.trained}
        size, rate = {"params.yaml": {"data.size": self.size}}, {"params.yaml": {"rate": self.rate}}
        return {
            "prepare": {"cmd": "p", "deps": [raw, code["prepare.py"]], "params": size, "outs": [prepared]},
            "train": {"cmd": "t", "deps": [prepared, code["train.py"]], "params": rate, "outs": [trained]},
            "copy": {"cmd": "c", "deps": [trained], "outs": [copied]},
        }

    def lock(self, entries: dict[str, Any]) -> None:
        self.write("dvc.lock", {"schema": "2.0", "stages": entries})

    def commit(self, message: str) -> str:
        shell(self.folder, f"git add -A && git commit -q -m '{message}'")
        return commit_of(self.folder)

    def ran(self, message: str) -> str:
        self.edited()
        self.lock(self.entries())
        return self.commit(message)

    def recorded_run(self, run: str, entries: dict[str, Any]) -> str:
        """Record a run of the workspace's present contents, whose checkout has these entries at its end."""
        snapshot = take_snapshot(self.folder)
        keep_snapshot(self.folder, run, snapshot)
        self.write(f"{RUNS}/{run}/dvc.lock", {"schema": "2.0", "stages": entries})
        return snapshot.commit

    @contextmanager
    def history(self) -> Iterator[History]:
        with open_repo(self.folder) as repo:
            yield History(self.folder, Stores(repo))

    def commits(self, entries: dict[str, Any]) -> dict[str, str | None]:
        """By stage, the commit of the run that wrote the output."""
        outs = {name: entry["outs"][0]["md5"] for name, entry in entries.items()}
        with self.history() as history:
            runs = {(run.stage.name, run.stage.outs[0].md5): run for run in history.runs}
            return {name: history.commit_of(runs[name, out]) for name, out in outs.items()}

    def in_cache(self, files: dict[str, str]) -> str:
        """Put a folder's listing into DVC's cache; return its hash."""
        oid = folder_hash(files)
        path = self.folder / ".dvc/cache/files/md5" / oid[:2] / oid[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{"md5": found, "relpath": name} for name, found in sorted(files.items())]))
        return oid


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ancestry") / "home"
    folder.mkdir()
    shell(folder, "git init -q -b main && dvc init -q && echo .genai/ > .gitignore")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(template, tmp_path / "home")))


def test_new_data_beside_an_old_model(project: Project) -> None:
    """Train and commit; add data and run only `prepare` of it; commit the data without the lock."""
    first, entries = project.ran("first model"), project.entries()
    assert set(project.commits(entries).values()) == {first}
    project.raw = "B"
    project.edited()
    project.recorded_run("1", {**entries, "prepare": project.entries()["prepare"]})
    later = project.commit("more tiles")
    project.recorded_run("2", {**entries, "prepare": project.entries()["prepare"]})  # on the commit itself
    assert project.commits(entries) == {"prepare": first, "train": first, "copy": first}
    project.lock({**entries, "prepare": project.entries()["prepare"]})
    assert later != project.commit("prepared")
    assert project.commits(entries) == {"prepare": first, "train": first, "copy": first}


@pytest.mark.parametrize("edit", ["raw", "size", "prepare.py", "rate", "train.py"])
def test_commit_that_differs_upstream_is_not_named(project: Project, edit: str) -> None:
    """The only commit with the entries was edited before it was made: upstream of the last stage in every case."""
    entries = project.entries()
    project.edited()
    project.lock(entries)
    snapshot = project.recorded_run("1", entries)
    if edit in project.code:
        project.code[edit] = "2"
    else:
        setattr(project, edit, {"raw": "B", "size": 16, "rate": 0.2}[edit])
    project.edited()
    project.commit("edited after the run")
    assert project.commits(entries)["copy"] == snapshot
    git(project.folder, "update-ref", "-d", "refs/genai/runs/1")
    found = project.commits(entries)
    assert found["copy"] is None
    assert found["train"] is None
    assert (found["prepare"] is None) == (edit in ("raw", "size", "prepare.py"))


def test_the_oldest_of_several_commits(project: Project) -> None:
    """Later commits with the same contents, on this branch or another, do not change the answer."""
    first, entries = project.ran("first model"), project.entries()
    for number in range(2):
        project.rate = 0.2 + number
        project.edited()
        project.commit("another rate, not trained")
        project.rate = 0.1
        project.edited()
        project.recorded_run(str(number), entries)
        project.commit("back")
    shell(project.folder, f"git checkout -q -b other {first} && git commit -q --allow-empty -m same")
    assert set(project.commits(entries).values()) == {first}


def test_equal_output_of_two_versions_of_the_data(project: Project) -> None:
    """A model is of either version: a removed duplicate changes the data, but not what was prepared of them."""
    entries = project.entries()
    project.raw = "A and a duplicate"
    project.edited()
    other = {**project.entries(), "train": entries["train"], "copy": entries["copy"]}
    other["prepare"]["outs"] = entries["prepare"]["outs"]
    project.lock(other)
    first = project.commit("with a duplicate")
    project.raw = "A"
    second = project.ran("without it")
    assert project.commits(entries) == {"prepare": second, "train": first, "copy": first}


def test_every_part_of_a_folder_of_outputs_counts(project: Project) -> None:
    """select reads models/trained, which two stages wrote. The first commit has the code of only one of them."""
    weights = {name: project.in_cache({"model": md5(name)}) for name in ("one", "two")}
    folder = folder_hash({f"{name}/model": md5(name) for name in weights})
    entries: dict[str, Any] = {
        f"train@{name}": {
            "cmd": name,
            "deps": [{"path": code, "md5": md5("1")}],
            "outs": [{"path": f"models/trained/{name}", "md5": weights[name]}],
        }
        for name, code in (("one", "prepare.py"), ("two", "train.py"))
    }
    read = [{"path": "models/trained", "md5": folder}]
    entries["select"] = {"cmd": "s", "deps": read, "outs": [{"path": "models/selected", "md5": md5("s")}]}
    project.code["train.py"] = "2"
    project.edited()
    project.lock(entries)
    edited = project.commit("edited after the run")
    assert project.commits(entries) == {"train@one": edited, "train@two": None, "select": None}
    project.code["train.py"] = "1"
    project.edited()
    exact = project.commit("undone")
    assert project.commits(entries) == {"train@one": edited, "train@two": exact, "select": exact}


def test_inputs_inside_a_data_source(project: Project) -> None:
    """A fine-tuning reads files of models/base; only a commit with that version of it is named."""
    versions = {name: project.in_cache({"config": md5(name), "code": md5("same")}) for name in ("old", "new")}
    read = [{"path": "models/base/config", "md5": md5("old")}, {"path": "models/base/code", "md5": md5("same")}]
    entries = {"finetune": {"cmd": "f", "deps": read, "outs": [{"path": "models/finetuned", "md5": md5("f")}]}}

    def committed(version: str) -> str:
        project.write("models/base.dvc", {"outs": [{"path": "base", "md5": versions[version]}]})
        return project.commit(version)

    project.lock(entries)
    committed("new")
    assert project.commits(entries) == {"finetune": None}
    exact = committed("old")
    assert project.commits(entries) == {"finetune": exact}
    committed("new")
    assert project.commits(entries) == {"finetune": exact}


def test_without_the_listing_of_an_output(project: Project) -> None:
    """A clone without data does not know a folder's files: the dvc.lock that recorded the reader names the writer."""
    entries = project.entries()
    entries["prepare"]["outs"] = [{"path": "data/prepared", "md5": f"{md5('p')}.dir"}]
    entries["train"]["deps"][0] = {"path": "data/prepared/dataset.json", "md5": md5("json")}
    project.lock(entries)
    first = project.commit("first model")
    project.raw = "B"
    project.edited()
    project.commit("more data")
    assert project.commits(entries) == {"prepare": first, "train": first, "copy": first}
