"""Two stories with the lasting server: new data, coalesced events, a worker that dies, a restarted server.

In the first the retraining is only the pipeline (toy/retrain.py), of stages that wait; in the second the real one.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.services.api import Api
from flows.services.local import HOME, down
from flows.services.processes import read_state
from flows.services.zombie_runs import ensure_automations, outdated_automations
from flows.watching.news import look, production_data
from tests.flows.conftest import ROOT, Server, diary, edit, genai, shell, wait_for
from tests.flows.retrain_home import new_home, put, track, variables
from tests.flows.services.test_local import free_port
from tests.flows.toy_home import TOY

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# Longer than the heartbeats' 30 s: the pages' own limit, 90 s, would make the test wait for a minute more.
HEARTBEAT_TIMEOUT_S, PENDING_TIMEOUT_S = 40.0, 20.0
SLOW = 200.0


@pytest.fixture
def checkout(done: Path, monkeypatch: pytest.MonkeyPatch, prefect_home: Callable[[Path], Path]) -> Iterator[Path]:
    """A toy workspace with all deployments, `watch` on a schedule. Services that it started end with the test."""
    (done / "flows").symlink_to(ROOT / "flows")
    shutil.copytree(ROOT / "deployments", done / "deployments")
    shutil.copy(TOY / "retrain.py", done / "toy_retrain.py")
    edit(done / "deployments/prefect.yaml", "flows/retraining/retrain.py:retrain", "toy_retrain.py:retrain")
    edit(
        done / "deployments/prefect.yaml",
        'cron: "*/10 * * * *"\n        timezone: UTC\n        active: false',
        "interval: 20\n        active: true",
    )
    shell(done, "git add -A && git commit -q -m done")
    monkeypatch.delenv("PREFECT_HOME")
    prefect_home(done / HOME)
    # A run that waits for its turn looks again after so long.
    monkeypatch.setenv("PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS", "2")
    yield done
    down(done)


class Story:
    """The server of a checkout, queried as its UI does."""

    def __init__(self, checkout: Path, port: int, **variables: Any) -> None:
        self.checkout, self._port, self._variables = checkout, port, variables
        self.server = Server(f"http://127.0.0.1:{port}/api")

    def up(self) -> None:
        answer = genai(self.checkout, "up", "--port", str(self._port), timeout=SLOW, **self._variables)
        assert answer.returncode == 0, answer.stderr

    def runs(self, flow: str) -> list[dict[str, Any]]:
        found = self.server.post("flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="EXPECTED_START_TIME_ASC")
        return [run for run in found if run["state"]["name"] != "Scheduled" or not run["auto_scheduled"]]

    def states(self, flow: str) -> list[str]:
        return [run["state"]["type"] for run in self.runs(flow)]

    def rest(self, flow: str, count: int) -> list[dict[str, Any]]:
        """Wait until a flow has this many runs and all have ended."""
        wait_for(lambda: len(self.states(flow)) >= count and set(self.states(flow)) <= set(ENDED), SLOW)
        return self.runs(flow)

    def grow(self) -> str:
        """Add new data and commit it."""
        (self.checkout / "data/raw" / f"{time.time_ns()}.txt").write_text("an image")
        shell(self.checkout, "dvc add -q data/raw && git add data/raw.dvc && git commit -q -m grown")
        return shell(self.checkout, "git show HEAD:data/raw.dvc").split("md5: ")[1].split()[0]

    def deployment(self, name: str) -> str:
        found = {entry["name"]: str(entry["id"]) for entry in self.server.post("deployments/filter")}
        return found[name]

    def look(self) -> None:
        """Run the deployment `watch` as a user does; return when it has emitted its event."""
        memory = self.checkout / ".genai/watch.json"
        before = memory.stat().st_mtime_ns if memory.is_file() else 0
        self.server.post(f"deployments/{self.deployment('watch')}/create_flow_run", state={"type": "SCHEDULED"})
        wait_for(lambda: memory.is_file() and memory.stat().st_mtime_ns != before, SLOW)

    def is_up(self, name: str) -> bool:
        state = read_state(self.checkout)
        return state is not None and any(service.name == name for service in state.living())

    def service(self, name: str) -> int:
        state = read_state(self.checkout)
        assert state is not None
        return next(service.pid for service in state.living() if service.name == name)


def kill_together(process: psutil.Process) -> None:
    """As when a machine dies: no process is left that could report the death of another."""
    process.suspend()
    for member in [*process.children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            member.kill()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_week_in_production(checkout: Path) -> None:
    go = checkout.parent / "go"  # trainings wait for it
    go.touch()
    story = Story(checkout, free_port(), toy={"train@gan": {"until": str(go)}})
    raw = shell(checkout, "git show HEAD:data/raw.dvc").split("md5: ")[1].split()[0]
    story.up()

    # A schedule fires by itself, sees that nothing is in production, and the event starts one retraining.
    (first,) = story.rest("retrain", 1)
    assert (first["state"]["type"], first["parameters"]["new_version"], first["parameters"]["old_version"]) == (
        "COMPLETED",
        raw,
        "",
    )
    assert "nothing is in production yet" in first["parameters"]["reason"]
    looks = story.runs("watch")
    assert looks[0]["auto_scheduled"]
    # The same news is announced once, however often the flow runs.
    wait_for(lambda: len([run for run in story.runs("watch") if run["state"]["name"] == "Nothing new"]) >= 1, SLOW)
    assert len(story.runs("retrain")) == 1

    # From here on, it runs only on request.
    story.server.post(f"deployments/{story.deployment('watch')}/pause_deployment")
    story.rest("watch", 1)

    # The worker and its processes are killed: the missing heartbeat is noticed, and the next run continues.
    api = Api(story.server.url)
    assert outdated_automations(api) == ()
    ensure_automations(api, HEARTBEAT_TIMEOUT_S, PENDING_TIMEOUT_S)
    # A run that a worker took but never started, as if that worker had died at once.
    flow = story.runs("watch")[0]["flow_id"]
    taken = story.server.post("flow_runs/", name="taken", flow_id=flow, state={"type": "PENDING", "name": "Submitting"})
    go.unlink()
    wanted = story.grow()
    trained = len(diary(checkout, "train@gan"))
    story.look()
    wait_for(lambda: len(diary(checkout, "train@gan")) == trained + 1, SLOW)
    wait_for(lambda: story.states("retrain")[-1] == "RUNNING", SLOW)
    assert story.runs("retrain")[-1]["parameters"]["new_version"] == wanted
    kill_together(psutil.Process(story.service("worker genai")))
    wait_for(lambda: story.states("retrain")[-1] == "CRASHED", SLOW)
    assert "no heartbeat for 40 s" in story.runs("retrain")[-1]["state"]["message"]
    (stuck,) = story.server.post("flow_runs/filter", flow_runs={"id": {"any_": [taken["id"]]}})
    assert stuck["state"]["type"] == "CRASHED"
    assert "not started for 20 s" in stuck["state"]["message"]
    prepared = len(diary(checkout, "prepare"))

    # Two events at once, and the server is started anew in the middle: one run, which finishes.
    before = len(story.runs("retrain"))
    for _ in range(2):
        (checkout / ".genai/watch.json").unlink()
        answer = genai(checkout, "watch", "--once")
        assert answer.returncode == 3, answer.stderr
    wait_for(lambda: len(story.runs("retrain")) == before + 2, SLOW)
    story.up()
    wait_for(lambda: len(diary(checkout, "train@gan")) == trained + 2, SLOW)
    psutil.Process(story.service("server")).terminate()
    wait_for(lambda: not story.is_up("server"), SLOW)
    story.up()
    go.touch()
    runs = story.rest("retrain", before + 2)[before:]
    assert sorted(run["state"]["type"] for run in runs) == ["CANCELLED", "COMPLETED"], [run["state"] for run in runs]
    (cancelled,) = [run for run in runs if run["state"]["type"] == "CANCELLED"]
    assert "which uses the newest data" in cancelled["state"]["message"]
    assert len(diary(checkout, "prepare")) == prepared, "what was done before the kill is not done again"
    assert shell(checkout, "dvc status").strip() == "Data and pipelines are up to date."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_home: Callable[[Path], Path]) -> Iterator[Path]:
    """A toy repository for retrainings, with all deployments as the project has them."""
    folder = new_home(tmp_path / "home")
    (folder / "flows").symlink_to(ROOT / "flows")
    shutil.copytree(ROOT / "deployments", folder / "deployments")
    shell(folder, "git add -A && git commit -q -m deployments")
    monkeypatch.delenv("PREFECT_HOME")
    prefect_home(folder / HOME)
    yield folder
    down(folder)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_new_data_lead_to_a_new_model_in_production(home: Path) -> None:
    told = variables(home)
    del told["timeout"]
    story = Story(home, free_port(), **told)
    story.up()
    assert story.runs("watch") == story.runs("retrain") == [], "nothing is done unasked"
    story.look()
    (first,) = story.rest("retrain", 1)
    assert first["state"]["name"] == "Completed", first["state"]
    assert production_data(home)[0] == "v0.0.1"
    assert "samples/batch" in (home / "dvc.lock").read_text()

    put(home, "second", 4)
    track(home)
    story.look()
    second = story.rest("retrain", 2)[-1]
    assert second["state"]["name"] == "Completed", second["state"]
    assert (production_data(home)[0], second["parameters"]["old_version"]) == ("v0.0.2", production_data_of(first))

    # What production draws is no longer what the data look like: its fall is measured, and starts a retraining.
    put(home, "second", 4, text="bad")
    put(home, "third", 4, text="bad")
    track(home)
    story.server.post(
        f"deployments/{story.deployment('measure-production')}/create_flow_run", state={"type": "SCHEDULED"}
    )
    (measured,) = story.rest("measure-production", 1)
    assert measured["state"]["name"] == "Worse", measured["state"]
    third = story.rest("retrain", 3)[-1]
    assert third["parameters"]["asked"] is True
    assert "to the newest test images" in third["parameters"]["reason"]
    assert third["state"]["name"] == "Rejected", third["state"]
    assert "not worse" in third["state"]["message"]
    assert production_data(home)[0] == "v0.0.2"
    assert look(home).is_new


def production_data_of(run: dict[str, Any]) -> str:
    """The data version that started a retraining."""
    return str(run["parameters"]["new_version"])
