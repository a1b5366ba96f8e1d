"""A retraining in a terminal that somebody cancels in Prefect's pages: in a stage, in a comparison, in the pause."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.registry.read import read_registry
from tests.flows.conftest import DVC_WARNS, Server, ended, processes_in, started_genai, wait_for
from tests.flows.retrain_home import new_home, setting, started, variables

pytestmark = DVC_WARNS


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return new_home(tmp_path / "home")


@pytest.mark.long
def test_it_ends_wherever_it_is_and_the_next_one_goes_on(home: Path, server: Server) -> None:
    cancel(home, server, {"train@gan": 600.0}, lambda: is_at_work("tasks.stage train@gan", home))
    assert started(home) == ["prepare", "train@gan"]
    cancel(home, server, {"compare_models": 600.0}, lambda: is_at_work("tasks.compare_models", home))
    assert started(home) == ["train@gan", "select", "finetune", "candidate"]
    setting(home, "gate.approval", "human")
    waiting = home / ".genai/retrain/waiting.json"
    cancel(home, server, {}, lambda: waiting.exists() and last_run(home, server)["state"]["type"] == "PAUSED")
    assert not waiting.exists()
    assert read_registry(home).production() is None


def cancel(home: Path, server: Server, toy: dict[str, float | str], ready: Callable[[], bool]) -> None:
    """Start a retraining, cancel it at the server as the pages do when it is ready, and see it end."""
    wanted = variables(home, toy)
    del wanted["timeout"]
    with started_genai(home, "retrain", api_url=server.url, **wanted) as process:
        wait_for(ready, 120.0)
        run = last_run(home, server)
        server.post(f"flow_runs/{run['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        status, said = ended(process, 60.0)
    assert status == 130, said
    assert "flows/retraining" not in said, "no traceback of the flow's own"
    assert last_run(home, server)["state"]["type"] == "CANCELLED", said
    assert not is_at_work("", home)


def is_at_work(command: str, home: Path) -> bool:
    """Whether a process with these words in its command works in a checkout of the retraining."""
    trees = home / ".genai/worktrees"
    found = [line for tree in trees.iterdir() for line in processes_in(tree)] if trees.is_dir() else []
    return any(command in line for line in found)


def last_run(home: Path, server: Server) -> dict[str, Any]:
    """The retraining that began last."""
    return server.flow_runs(home)[-1]
