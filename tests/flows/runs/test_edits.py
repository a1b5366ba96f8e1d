"""Edits during a stage: records are correct, no result is lost, and edited files are kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.flows.conftest import (
    Server,
    diary,
    edit,
    ended,
    genai,
    parameter,
    set_parameter,
    shell,
    started_genai,
    wait_for,
)

SEED = "models.gan.training.seed"


def lock_of(workspace: Path) -> Any:
    path = workspace / "dvc.lock"
    return YAML(typ="safe").load(path)["stages"] if path.exists() else {}


def edit_parameter(workspace: Path) -> None:
    set_parameter(workspace, SEED, 12345)


def edit_code(workspace: Path) -> None:
    edit(workspace / "work.py", "def main()", "# somebody is at work here\ndef main()")


def edit_graph(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", "cmd: python work.py out/prepared ", "cmd: python -u work.py out/prepared ")


def add_data(workspace: Path) -> None:
    (workspace / "data" / "raw" / "late.txt").write_text("an image that came late")
    shell(workspace, "dvc add -q data/raw")


def switch_branch(workspace: Path) -> None:
    shell(workspace, "git switch -q other")


def users_files(workspace: Path) -> dict[str, bytes]:
    """The files that git tracks and no run writes, and the raw data."""
    names = shell(workspace, "git ls-files").split()
    paths = [workspace / name for name in names if name != "dvc.lock" and not name.startswith("metrics/")]
    paths += sorted((workspace / "data/raw").glob("*"))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.parametrize(
    "changes",
    [(edit_parameter, edit_code, edit_graph, add_data), pytest.param((switch_branch,), marks=pytest.mark.long)],
)
def test_edits_while_a_stage_runs(fresh: Path, server: Server, changes: tuple[Callable[[Path], None], ...]) -> None:
    shell(fresh, "git switch -q -c other")
    set_parameter(fresh, SEED, 777)
    edit_code(fresh)
    shell(fresh, "git commit -q -a -m other && git switch -q main")
    seed = parameter(fresh, SEED)
    go = fresh.parent / "go"
    with started_genai(fresh, "run", api_url=server.url, toy={"train@gan": {"until": str(go)}}) as process:
        # The other branch has ended and was accepted before the edits.
        wait_for(lambda: diary(fresh, "train@gan") and "train@diffusion" in lock_of(fresh))
        for change in changes:
            change(fresh)
        before, refs = (
            users_files(fresh),
            shell(fresh, "git rev-parse HEAD && git status --porcelain -- . ':!metrics' ':!dvc.lock'"),
        )
        go.touch()
        status, output = ended(process, 60.0)
    assert status == 0, output

    # The user's files are unchanged, and every record names its model's inputs.
    assert users_files(fresh) == before
    assert shell(fresh, "git rev-parse HEAD && git status --porcelain -- . ':!metrics' ':!dvc.lock'") == refs
    recorded = lock_of(fresh)
    assert {name for name in ("prepare", "train@diffusion", "train@gan", "select") if name not in recorded} == {
        "train@gan",
        "select",
    }
    for name in ("train@gan", "select"):
        assert f"{name}: only in DVC's cache, not in this checkout:" in output
    assert not (fresh / "out/train/gan").exists()
    shown = genai(fresh, "runs", "show", output.split()[output.split().index("run") + 1])
    assert shown.stdout.count("only in DVC's cache") == 2

    # No result is lost: once the inputs are back, it is restored, and nothing runs again.
    shell(fresh, "git switch -q -f main && git checkout -q -- . && dvc checkout -q data/raw.dvc")
    plan = genai(fresh, "plan").stdout
    assert "train@gan        restore" in plan, plan
    answer = genai(fresh, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert [len(diary(fresh, name)) for name in ("prepare", "train@diffusion", "train@gan", "select")] == [1, 1, 1, 1]
    assert lock_of(fresh)["train@gan"]["params"]["params.yaml"]["models.gan.training"]["seed"] == seed
    assert f'"seed": {seed}' in (fresh / "out/train/gan").read_text()
    assert "up to date" in shell(fresh, "dvc status")


def test_two_simultaneous_runs_of_different_contents(fresh: Path, server: Server) -> None:
    """The second restores shared results from the first, and each model is recorded with its own parameters."""
    go = fresh.parent / "go"
    toy = {"train@gan": {"until": str(go)}}
    with started_genai(fresh, "run", api_url=server.url, toy=toy) as first:
        wait_for(lambda: diary(fresh, "train@gan"))
        set_parameter(fresh, SEED, 12345)
        with started_genai(fresh, "run", api_url=server.url, toy=toy) as second:
            wait_for(lambda: len(diary(fresh, "train@gan")) == 2)
            go.touch()
            (status, output), (other_status, other_output) = ended(first, 60.0), ended(second, 60.0)
    assert status == other_status == 0, output + other_output
    assert [len(diary(fresh, name)) for name in ("prepare", "train@diffusion", "train@gan")] == [1, 1, 2]
    assert lock_of(fresh)["train@gan"]["params"]["params.yaml"]["models.gan.training"]["seed"] == 12345
    assert '"seed": 12345' in (fresh / "out/train/gan").read_text()
    assert "train@gan: only in DVC's cache" in output
    assert "`genai run` restores them once those inputs are back" in output
    assert "only in DVC's cache" not in other_output
    assert shell(fresh, "git worktree list").count("\n") == 1


def test_stop_status_logs_and_resume(fresh: Path, server: Server) -> None:
    """A stopped run resumes on its own snapshot, regardless of the workspace."""
    with started_genai(fresh, "run", "train", api_url=server.url, toy={"train@gan": {"seconds": 60.0}}) as process:
        wait_for(lambda: diary(fresh, "train@gan") and "train@diffusion" in lock_of(fresh))
        wait_for(lambda: "train@gan: for" in genai(fresh, "status").stdout and "work " in genai(fresh, "status").stdout)
        assert "train@gan begins" in genai(fresh, "logs", "train@gan").stdout
        stopped = genai(fresh, "runs", "stop", genai(fresh, "runs").stdout.splitlines()[-1].split()[0])
        assert stopped.returncode == 0, stopped.stderr
        status, output = ended(process)
    assert status == 130
    (run,) = json.loads(genai(fresh, "runs", "--json").stdout)
    assert f"if nothing has changed since, else `genai runs resume {run['id']}`" in output
    assert "nothing is running here" in genai(fresh, "status").stdout
    assert run["state"] == "stopped"
    was = (fresh / "params.yaml").read_text()
    (fresh / "params.yaml").write_text("data: [")  # during an edit
    (fresh / "data/raw/late.txt").write_text("not added yet")
    answer = genai(fresh, "runs", "resume", run["id"], api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "train@gan: only in DVC's cache" in answer.stdout
    assert [flow_run["parameters"]["stages"] for flow_run in server.flow_runs(fresh)] == [["train"], ["train"]]
    assert [len(diary(fresh, name)) for name in ("prepare", "train@diffusion", "train@gan")] == [1, 1, 2]
    assert "this checkout cannot be read" in answer.stdout
    assert (fresh / "params.yaml").read_text() == "data: ["
    assert (fresh / "data/raw/late.txt").read_text() == "not added yet"
    (fresh / "params.yaml").write_text(was)
    (fresh / "data/raw/late.txt").unlink()
    assert "train@gan        restore" in genai(fresh, "plan").stdout


@pytest.mark.parametrize("command", [("runs", "show", "x"), ("runs", "stop", "x"), ("runs", "resume", "x"), ("logs",)])
def test_unknown_runs(done: Path, command: tuple[str, ...]) -> None:
    answer = genai(done, *command)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert "no run" in answer.stderr
