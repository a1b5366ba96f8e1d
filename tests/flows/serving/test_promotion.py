"""A promotion while serving: new requests get the new version, no request fails, and the old one finishes."""

import asyncio
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from flows.data.remote import push_commit
from flows.registry.promotion import promote
from flows.registry.read import STAGE
from flows.serving import promotions
from flows.serving.dispatcher import LoadError
from tests.flows.conftest import shell
from tests.flows.model_home import make, new_home, production, remotes
from tests.flows.serving.served import save_tiny_model, serving


class Served:
    name = STAGE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A repository with its first version in production."""
    home = new_home(tmp_path / "home")
    make(home, 3.0)
    promote(home, push_commit, by="test")
    return home


def test_a_promotion_swaps_without_a_failed_request(home: Path) -> None:
    with serving(workspace=home) as server:
        first = server.draw(seed=1).json()["images"][0]
        assert first["provenance"]["version"] == "v0.0.1"
        statuses, versions, stop = set(), [], threading.Event()

        def draw_on() -> None:
            with server.client() as client:
                while not stop.is_set():
                    answer = client.post("/v1/draw", json={"seed": 1, "count": 4})
                    statuses.add(answer.status_code)
                    versions.append(answer.json()["images"][0]["provenance"]["version"])

        clients = [threading.Thread(target=draw_on) for _ in range(3)]
        for client in clients:
            client.start()
        other_weights(home)
        make(home, 2.0)
        promote(home, push_commit, by="test")
        deadline = time.monotonic() + 30
        while "v0.0.2" not in versions[-3:] and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for client in clients:
            client.join()
        assert statuses == {200}
        assert set(versions) == {"v0.0.1", "v0.0.2"}
        second = server.draw(seed=1).json()["images"][0]
        assert second["provenance"]["version"] == "v0.0.2"
        assert second["provenance"]["model_sha256"] != first["provenance"]["model_sha256"]
        assert second["b64"] != first["b64"]
        old = server.draw(model="v0.0.1")
        assert (old.status_code, old.json()["error"]["code"]) == (404, "model_not_found")


def test_files_of_a_version_that_were_removed_are_laid_out_again(home: Path) -> None:
    with serving("v0.0.1", workspace=home) as server:
        expected = server.draw(seed=1).json()["images"]
        shutil.rmtree(home / ".genai/production")
        (pid,) = server.model_pids()
        os.kill(pid, signal.SIGKILL)
        assert server.draw(seed=1).json()["images"] == expected


def other_weights(home: Path) -> None:
    """Replace the data from which the pipeline makes its model."""
    shutil.rmtree(home / "data/raw")
    save_tiny_model(home / "data/raw", "gan", seed=1)
    shell(home, "dvc add -q data/raw")


def test_a_version_stays_what_it_is(home: Path) -> None:
    with serving("v0.0.1", workspace=home) as server:
        make(home, 2.0)
        promote(home, push_commit, by="test")
        time.sleep(2.0)
        assert server.draw(model="v0.0.1").json()["images"][0]["provenance"]["version"] == "v0.0.1"


def test_a_promotion_in_another_clone_is_fetched(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remotes(home)
    make(home, 2.0)
    shell(home, "git push -q origin main 'refs/tags/*:refs/tags/*'")
    shell(tmp_path, f"git clone -q {tmp_path / 'origin.git'} other")
    promote(home, push_commit, by="test")
    other = tmp_path / "other"
    assert production(other) == "v0.0.1"
    monkeypatch.setattr(promotions, "FETCH_EVERY_S", 0.01)

    async def fetch_once() -> None:
        task = asyncio.create_task(promotions.Promotions([Served()], other).fetch())  # type: ignore[arg-type]
        for _ in range(200):
            await asyncio.sleep(0.05)
            if production(other) == "v0.0.2":
                break
        task.cancel()

    asyncio.run(fetch_once())
    assert production(other) == "v0.0.2"


def test_an_unexpected_failure_does_not_end_the_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def fail(workspace: Path) -> None:
        calls.append(workspace)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(promotions, "FETCH_EVERY_S", 0.0)
    monkeypatch.setattr(promotions, "_fetch_tags", fail)

    async def story() -> None:
        task = asyncio.create_task(promotions.Promotions([Served()], tmp_path).fetch())  # type: ignore[arg-type]
        for _ in range(500):
            await asyncio.sleep(0.01)
            if len(calls) > 1:
                break
        task.cancel()

    asyncio.run(story())
    assert len(calls) > 1


def test_a_git_remote_that_hangs_does_not_keep_a_server_from_ending(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(home, "git config protocol.ext.allow always && git remote add origin 'ext::sleep 8'")
    monkeypatch.setattr(promotions, "FETCH_EVERY_S", 0.0)

    async def fetch() -> None:
        task = asyncio.create_task(promotions.Promotions([Served()], home).fetch())  # type: ignore[arg-type]
        await asyncio.sleep(1.0)
        assert not task.done()
        task.cancel()

    begun = time.monotonic()
    asyncio.run(fetch())
    assert time.monotonic() - begun < 5.0


def test_a_version_that_cannot_be_loaded_is_tried_ever_less_often_until_tags_change(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotions, "LOOK_EVERY_S", 0.005)
    monkeypatch.setattr(promotions, "FIRST_PAUSE_S", 0.1)
    tried: list[float] = []

    class Failing(promotions.Promotions):
        async def _look(self) -> None:
            tried.append(time.monotonic())
            raise LoadError("too large", "model_unusable")

    async def until(count: int) -> None:
        while len(tried) < count:
            await asyncio.sleep(0.005)

    async def story() -> None:
        task = asyncio.create_task(Failing([Served()], home).follow())  # type: ignore[arg-type]
        await asyncio.wait_for(until(4), 20)
        first, second, third, fourth = tried
        assert second - first >= 0.1
        assert third - second >= 0.2
        assert fourth - third >= 0.4
        shell(home, "git tag other")
        await asyncio.wait_for(until(5), 20)
        assert tried[4] - fourth < 0.8
        task.cancel()

    asyncio.run(story())
