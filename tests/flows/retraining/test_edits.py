"""Edits during a retraining or a backfill: records are correct, edits are kept, and a stop works."""

import shutil
from pathlib import Path

import pytest

from flows.data.stores import Stores
from flows.dvc_lock import lock_at
from flows.git import commit_of
from flows.graph import open_repo
from flows.made_from import differences
from flows.registry.read import MODEL
from tests.flows.conftest import DVC_WARNS, Server, edit, ended, genai, set_parameter, shell, started_genai, wait_for
from tests.flows.retrain_home import last, put, started, track, variables

pytestmark = DVC_WARNS


@pytest.fixture
def home(home: Path) -> Path:
    """A home with a model in production, and newer data."""
    put(home, "second", 4)
    track(home)
    return home


def somebody_works_at(folder: Path) -> str:
    """Edit parameters, code and data without a commit; return git's status."""
    set_parameter(folder, "finetune.seed", 12345)
    set_parameter(folder, "data.image_size", 24)
    edit(folder / "tasks/stage.py", '"""The stages', '"""Somebody is at work here: the stages')
    put(folder, "third", 4, text="bad")
    track(folder, commit=False)
    return shell(folder, "git diff -- params.yaml tasks data")


def test_edits_during_a_retraining(home: Path, server: Server) -> None:
    started(home)
    go = home.parent / "go"
    with started_genai(home, "retrain", api_url=server.url, **_variables(home, {"finetune": str(go)})) as process:
        wait_for(
            lambda: "finetune" in (home.parent / "diary").read_text() if (home.parent / "diary").exists() else False
        )
        edits = somebody_works_at(home)
        go.touch()
        status, said = ended(process, 90.0)
    assert status == 0, said
    # The promoted model was made from its commit's files, not from the edited ones.
    commit = commit_of(home, last(home)["branch"])
    with open_repo(home) as repo:
        stores = Stores(repo)
        assert differences(home, commit, lock_at(home, commit), MODEL, lambda item: stores.files(item.md5) or {}) == []
    assert "Somebody" not in shell(home, f"git show {commit}:tasks/stage.py")
    assert "12345" not in shell(home, f"git show {commit}:params.yaml")
    now = shell(home, "git diff -- params.yaml tasks data")
    assert {line for line in edits.splitlines() if line.startswith("+ ")} <= set(now.splitlines())
    assert "Somebody is at work" in (home / "tasks/stage.py").read_text()
    assert (home / "data/raw/cat/third-0.txt").exists()


@pytest.mark.long
def test_edits_in_a_retrainings_own_worktree(home: Path, server: Server) -> None:
    """Nobody should edit there; the result is not recorded."""
    started(home)
    go = home.parent / "go"
    with started_genai(home, "retrain", api_url=server.url, **_variables(home, {"finetune": str(go)})) as process:
        wait_for(
            lambda: "finetune" in (home.parent / "diary").read_text() if (home.parent / "diary").exists() else False
        )
        (place,) = (home / ".genai/worktrees").iterdir()
        set_parameter(place, "finetune.seed", 12345)
        go.touch()
        status, said = ended(process, 90.0)
    assert status == 1, said
    assert "params.yaml finetune changed in" in said
    assert "not recorded" in said
    assert "12345" not in (place / "dvc.lock").read_text()
    entries = [path.read_text() for path in (home / ".dvc/cache/runs").rglob("*") if path.is_file()]
    assert entries
    assert not [entry for entry in entries if "12345" in entry]


def test_edits_during_a_backfill_that_is_stopped(home: Path, server: Server) -> None:
    """Ctrl-C stops it before the next version. The next backfill continues, and measures the commits' contents."""
    put(home, "more", 2)
    track(home)
    started(home)
    first = shell(home, "git rev-list --max-parents=0 HEAD").strip()
    arguments = ("backfill", "--revisions", f"{first}..HEAD")
    shutil.rmtree(home / ".dvc/cache/runs")
    code = shell(home, "git rev-parse HEAD:tasks")
    with started_genai(home, *arguments, api_url=server.url, **_variables(home, {"prepare": 120.0})) as process:
        wait_for(lambda: (home.parent / "diary").exists())
        edits = somebody_works_at(home)
        process.send_signal(2)
        status, said = ended(process, 60.0)
    assert status == 130, said
    assert started(home) == ["prepare"]  # of the second version: the first one's dvc.lock exists
    (measured,) = (home / ".genai/backfill").glob("*/*.json")  # the first version, which is not measured again
    stamp = measured.stat().st_mtime_ns
    answer = genai(home, *arguments, api_url=server.url, **variables(home))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert measured.stat().st_mtime_ns == stamp
    assert started(home).count("prepare") == 2
    rows = (home / "backfill/quality.csv").read_text().splitlines()
    assert [row.split(",")[3:5] for row in rows[1:]] == [
        ["16", "4"],
        ["19", "5"],
        ["20", "6"],
    ]  # "third" is in no commit
    assert shell(home, "git rev-parse HEAD:tasks") == code
    assert shell(home, "git diff -- params.yaml tasks data") == edits
    assert shell(home, "git worktree list").count("\n") == 1


def _variables(home: Path, toy: dict[str, float | str]) -> dict[str, object]:
    return {name: value for name, value in variables(home, toy).items() if name != "timeout"}
