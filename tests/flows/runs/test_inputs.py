"""A run whose checkout lacks a declared input is refused before any stage starts, with the reason."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.git import git
from flows.graph import GraphError
from flows.runs.record import read_runs
from flows.runs.run_plan import plan_run
from flows.runs.snapshot import MAX_NEW_BYTES
from tests.flows.conftest import DVC_WARNS, edit, genai, set_parameter, shell

pytestmark = DVC_WARNS


def reads(workspace: Path, name: str) -> None:
    """Make it an input of train@gan and train@diffusion."""
    edit(workspace / "dvc.yaml", "deps: [out/prepared, work.py]", f"deps: [out/prepared, work.py, {name}]")


def write(path: Path, size: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def large(workspace: Path) -> str:
    write(workspace / "big.bin", MAX_NEW_BYTES + 1)
    return "big.bin"


def outside(workspace: Path) -> str:
    write(workspace.parent / "outside.txt")
    return "../outside.txt"


def by_its_whole_path(workspace: Path) -> str:
    write(workspace.parent / "outside.txt")
    return str(workspace.parent / "outside.txt")


def ignored(workspace: Path) -> str:
    write(workspace / "out" / "notes.txt")
    return "out/notes.txt"


def new_data(workspace: Path) -> str:
    write(workspace / "data" / "table.csv")
    return "data/table.csv"


def empty_folder(workspace: Path) -> str:
    (workspace / "empty").mkdir()
    return "empty"


def large_in_a_folder(workspace: Path) -> str:
    write(workspace / "code" / "a.py")
    write(workspace / "code" / "big.bin", MAX_NEW_BYTES + 1)
    return "code"


@pytest.mark.parametrize(
    ("made", "path", "why"),
    [
        (
            large,
            "big.bin",
            r"not in the run's snapshot because of its size: .* 10 MB. Track it: git add, or dvc add",
        ),
        (large_in_a_folder, "code/big.bin", "not in the run's snapshot because of its size"),
        (
            outside,
            "../outside.txt",
            "outside this repository.*Copy it into the workspace.*dvc import-url ../outside.txt",
        ),
        (by_its_whole_path, "../outside.txt", "outside this repository"),
        (
            ignored,
            "out/notes.txt",
            "git ignores it, and DVC does not track it. Remove it from .gitignore, or track it: dvc add",
        ),
        (new_data, "data/table.csv", "a snapshot has no new files from data/, and DVC does not track it"),
        (empty_folder, "empty", "neither git nor DVC tracks it"),
    ],
)
def test_an_input_that_the_snapshot_lacks(done: Path, made: Callable[[Path], str], path: str, why: str) -> None:
    reads(done, made(done))
    with pytest.raises(GraphError, match=f"^train@(gan|diffusion): its input {re.escape(path)} .*{why}"):
        plan_run(done, [], print)
    assert read_runs(done) == []
    assert plan_run(done, ["prepare"], print).snapshot is None  # other stages can run


@pytest.mark.parametrize("command", ["git add -f big.bin", "dvc add -q big.bin"])
def test_the_errors_advice_works(done: Path, command: str) -> None:
    reads(done, large(done))
    shell(done, command)
    assert plan_run(done, [], print).plan["train@gan"].action == "run"


def test_inputs_in_the_checkout_are_accepted(done: Path) -> None:
    """Folders of outputs, new small files, links to other folders, ignored files, and files that do not exist yet."""
    write(done.parent / "elsewhere" / "file.txt")
    (done / "link").symlink_to(done.parent / "elsewhere")
    large_in_a_folder(done)
    (done / ".dvcignore").write_text("big.bin\n")
    reads(done, "code, link/file.txt, not-yet.txt")
    set_parameter(done, "models.gan.training.seed", 5)
    assert {entry.action for entry in plan_run(done, [], print).plan.stages} == {"keep", "run"}


def test_inputs_of_kept_stages_are_not_checked(done: Path) -> None:
    reads(done, outside(done))
    shell(done, "dvc commit -q -f && git add -A && git commit -q -m outside")
    assert plan_run(done, [], print).snapshot is None


def test_a_project_in_a_subfolder_of_its_repository(done: Path, tmp_path: Path) -> None:
    """Tracked files outside the project folder are in the checkout too."""
    (done / ".git").rename(tmp_path / "old-git")
    shell(done, "dvc config core.no_scm false")
    top = done.parent
    git(top, "init", "--quiet")
    write(top / "shared.txt")
    write(top / "untracked.txt")
    (top / ".gitignore").write_text("old-git\n")
    shell(top, f"git add .gitignore shared.txt {done.name} && git commit -q -m all")
    reads(done, "../shared.txt")
    assert plan_run(done, [], print).snapshot is not None
    edit(done / "dvc.yaml", "../shared.txt", "../untracked.txt")
    with pytest.raises(GraphError, match=r"its input \.\./untracked.txt is not in .* snapshot: neither git nor DVC"):
        plan_run(done, [], print)


def test_the_command_prints_the_reason(done: Path) -> None:
    reads(done, ignored(done))
    answer = genai(done, "run")
    assert answer.returncode == 2
    assert "train@" in answer.stderr
    assert "git ignores it" in answer.stderr
    assert "Traceback" not in answer.stderr
