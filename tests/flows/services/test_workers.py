"""`genai workers`, and the checks of a worker's machine, against the real server, git and a folder as DVC remote."""

import json
from pathlib import Path

import pytest

from flows.data.stores import add_default_remote
from flows.services import doctor_worker
from flows.services.api import Api
from flows.services.doctor import examine_worker
from tests.flows.conftest import DVC_WARNS, Server, genai, set_parameter, shell
from tests.flows.executors.machines import connect

pytestmark = DVC_WARNS

OFFER = {"cores": 8, "memory_gb": 64.0, "gpus": 0, "place": None}


def test_a_machine_that_can_work(fresh: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(fresh)
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    monkeypatch.setenv("GENAI_WORKER_HOME", str(fresh.parent / "worker"))
    monkeypatch.setattr(doctor_worker, "MIN_FREE_GB", 0.0)
    found = {check.name: check for check in examine_worker(fresh)}
    assert {check.status for check in found.values()} == {"ok"}, found
    assert list(found) == ["packages", "git remote", "DVC remote", "server", "clock", "worker's home", "GPU"]
    assert not list((fresh.parent / "store").rglob("genai-doctor-*"))


def test_a_machine_that_cannot(fresh: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(fresh)
    (fresh / "requirements.lock").write_text(
        "click==0.1 \\\n    --hash=sha256:0\nprefect==9.9 ; python_version < '3'\n"
    )
    shell(fresh, f"rm -rf {fresh.parent / 'origin.git'} {fresh.parent / 'store'}")
    (fresh.parent / "store").write_text("no folder")
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    monkeypatch.setattr(Api, "date", lambda _api: "Mon, 01 Jan 2024 00:00:00 GMT")
    found = {check.name: check for check in examine_worker(fresh)}
    wrong = [name for name, check in found.items() if check.status == "fail"]
    assert wrong == ["packages", "git remote", "DVC remote", "clock"]
    assert found["packages"].found.startswith("click ")
    assert found["packages"].found.endswith(" instead of 0.1")
    assert "cannot be written" in found["DVC remote"].found
    assert "ahead of the server's" in found["clock"].found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody can make")
def test_a_remote_whose_folder_is_on_another_machine(fresh: Path) -> None:
    add_default_remote(fresh, "/proc/elsewhere")
    found = doctor_worker.check_data_remote(fresh)
    assert "/proc/elsewhere cannot be written" in found.found
    assert found.todo == "the remote's folder is not on this machine: mount it, or correct the remote's URL"


def test_pools_and_their_workers(fresh: Path, server: Server) -> None:
    answer = genai(fresh, "workers", api_url=server.url)
    assert "compute.pools in params.yaml is empty" in answer.stderr
    assert "no worker has ever been there" not in answer.stdout
    set_parameter(fresh, "compute.pools", {"seen": OFFER, "unknown": OFFER})
    server.post("work_pools/", name="seen", type="process")
    server.post("work_pools/seen/workers/heartbeat", name="beta")
    flow, later = server.post("flows/", name="genai-job")["id"], {"type": "SCHEDULED"}
    server.post("flow_runs/", flow_id=flow, name="one train@gan 3 machine 2 of 2", state=later)
    answer = genai(fresh, "workers", "--json", api_url=server.url)
    found = json.loads(answer.stdout)
    (worker,) = found["workers"]
    assert (worker["pool"], worker["name"], worker["status"]) == ("seen", "beta", "online")
    (job,) = [job for job in found["jobs"] if job["run"] == "one"]
    assert (job["stage"], job["attempt"], job["part"]) == ("train@gan", "3", "machine 2 of 2")
    answer = genai(fresh, "workers", api_url=server.url)
    assert "train@gan machine 2 of 2" in answer.stdout
    assert "unknown: the server has no such work pool" in answer.stderr
    answer = genai(fresh, "workers")
    assert "no Prefect server is configured; set PREFECT_API_URL" in answer.stderr
