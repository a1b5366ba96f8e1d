"""`genai up`, `genai down` and `genai doctor` with the real server and worker, on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.services import local as services
from flows.services.doctor import _data, examine
from flows.services.local import ServicesError, down, is_loopback, up, work_pools
from flows.services.processes import read_state
from flows.services.serve_service import check_serving
from tests.flows.conftest import ROOT, edit, genai, set_parameter, shell
from tests.flows.serving.served import save_tiny_model


@pytest.fixture
def checkout(done: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A toy workspace with the project's flows and deployments. Services that it started end with the test."""
    (done / "flows").symlink_to(ROOT / "flows")
    shutil.copytree(ROOT / "deployments", done / "deployments")
    shell(done, "git add -A && git commit -q -m done")
    monkeypatch.delenv("PREFECT_HOME")  # a home of its own, in .genai
    yield done
    down(done)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def checks(workspace: Path) -> dict[str, Any]:
    return {check.name: vars(check) for check in examine(workspace)}


def test_up_doctor_down(checkout: Path) -> None:
    port, served = str(free_port()), free_port()
    models = [str(save_tiny_model(checkout.parent / "tiny", "gan"))]
    for key, value in {"up": True, "models": models, "port": served, "devices": ["cpu"]}.items():
        set_parameter(checkout, f"serve.{key}", value)
    shell(checkout, "git commit -q -a -m serve")
    answer = genai(checkout, "up", "--port", port, timeout=200.0)
    assert answer.returncode == 0, answer.stderr
    assert f"served: {models[0]} at http://127.0.0.1:{served}\n" in answer.stdout
    assert f"Prefect is at http://127.0.0.1:{port}. To use it from this terminal:\n" in answer.stdout
    assert answer.stdout.endswith(f"\n  export PREFECT_API_URL=http://127.0.0.1:{port}/api\n")
    assert "deployed: on-demand, watch, retrain, sample-production, measure-production" in answer.stdout
    first = read_state(checkout)
    assert first is not None
    assert [service.name for service in first.living()] == ["server", "worker genai", "serve"]
    assert shell(checkout, "git status --porcelain") == ""

    found = checks(checkout)
    assert {
        name: found[name]["status"]
        for name in ("server", "workers", "schedules", "zombie runs", "deployments", "serving", "locks", "params.yaml")
    } == dict.fromkeys(
        ("server", "workers", "schedules", "zombie runs", "deployments", "serving", "locks", "params.yaml"), "ok"
    )
    # The file says something else than the server.
    edit(
        checkout / "deployments/prefect.yaml",
        "    tags: [genai]\n",
        "    tags: [genai]\n    schedules: [{cron: 0 3 * * *}]\n",
    )
    assert "the file has ['cron 0 3 * * * UTC'], the server none" in checks(checkout)["schedules"]["found"]

    # Again: what was killed comes back, the server is left as it is, the schedule is deployed.
    server, worker, serve = first.services
    for service in (worker, serve):
        process = psutil.Process(service.pid)
        process.kill()
        process.wait(10)
    assert vars(check_serving(checkout))["todo"] == "genai up"
    answer = genai(checkout, "up", "--port", port, timeout=200.0)
    assert answer.returncode == 0, answer.stderr
    second = read_state(checkout)
    assert second is not None
    assert second.services[0] == server
    assert {service.name for service in second.living()} == {"server", "worker genai", "serve"}
    assert not {worker, serve} & {*second.services}
    assert checks(checkout)["schedules"]["status"] == "ok"

    # A flow that is not there, and another address: clear, and what ran goes on.
    edit(checkout / "deployments/prefect.yaml", "flows/runs/pipeline.py:pipeline", "flows/runs/pipeline.py:nothing")
    answer = genai(checkout, "up", "--port", port, timeout=200.0)
    assert (
        answer.returncode,
        "unknown flow flows/runs/pipeline.py:nothing" in answer.stderr,
        "has pipeline" in answer.stderr,
    ) == (2, True, True)
    edit(checkout / "deployments/prefect.yaml", "flows/runs/pipeline.py:nothing", "flows/runs/pipeline.py:pipeline")
    answer = genai(checkout, "up", "--port", str(free_port()))
    assert (answer.returncode, "already runs at" in answer.stderr) == (2, True)
    running = read_state(checkout)
    assert running is not None
    assert running.living() == second.services

    # All that was started ends, and all that these started.
    family = [member for s in second.services for member in psutil.Process(s.pid).children(recursive=True)]
    assert genai(checkout, "down").stdout == "stopped: server, worker genai, serve\n"
    assert not second.living()
    assert not [member for member in family if member.is_running()]
    assert genai(checkout, "down").stdout == "no service of this checkout is running\n"
    assert checks(checkout)["server"]["found"].startswith("none is configured")


def test_postgresql_database_is_set_for_the_server_only() -> None:
    address = "postgresql://prefect:secret@db:5432/prefect"
    assert services.database_settings(None) == {}
    assert services.database_settings(address) == {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:secret@db:5432/prefect"
    }
    for wrong in ("mysql://u:secret@h/d", "mysql://u:a@secret@h/d", "postgresql://u:secret@h", "secret"):
        with pytest.raises(ServicesError, match="expected postgresql://USER") as error:
            services.database_settings(wrong)
        assert "secret" not in str(error.value)


def test_access_from_other_machines_needs_an_auth_string(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""))
    for auth in (None, "", "no colon"):
        if auth is not None:
            monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", auth)
        with pytest.raises(ServicesError, match="set PREFECT_SERVER_API_AUTH_STRING to user:password first"):
            up(checkout, "0.0.0.0", free_port(), print)
    assert read_state(checkout) is None


def test_reasons_why_up_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(ServicesError, match=f"cannot listen on port {port} of 127.0.0.1"):
            up(checkout, "127.0.0.1", port, print)
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(ServicesError, match=rf"cannot listen on port {port} of ::1 \(Address already in use\)"):
            up(checkout, "::1", port, print)
    # A server that ends at once: its own last words.
    monkeypatch.setattr(services, "_server_command", lambda *_: [sys.executable, "-c", "raise SystemExit('no disk')"])
    with pytest.raises(ServicesError, match=r"the server did not start; see .*server\.log:\nno disk"):
        up(checkout, "127.0.0.1", free_port(), print)
    # One that is only slow, as on a busy machine.
    said: list[str] = []
    monkeypatch.setattr(services, "_server_command", lambda *_: ["sleep", "60"])
    monkeypatch.setattr(services, "START_TIMEOUT_S", 0.5)
    monkeypatch.setattr(services, "SLOW_START_S", 0.1)
    with pytest.raises(ServicesError, match=r"the server is alive, but was not ready after .* see .*server\.log"):
        up(checkout, "127.0.0.1", free_port(), said.append)
    assert said[0].startswith("waiting for the server, for ")
    for content, message in (
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2", "not valid YAML: line 2: the key a stands there twice"),
        ("[]", "a list `deployments`"),
        ("deployments: [a]", "a list"),
    ):
        (checkout / "deployments/prefect.yaml").write_text(content)
        with pytest.raises(ServicesError, match=message):
            work_pools(checkout)
    shutil.rmtree(checkout / "deployments")
    with pytest.raises(ServicesError, match="no such file"):
        up(checkout, "127.0.0.1", free_port(), print)


def test_doctor_without_a_server(checkout: Path) -> None:
    answer = genai(checkout, "doctor")
    assert answer.returncode == 0, answer.stdout
    lines = answer.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "warn", "->"}
    assert "-> genai data push --to FOLDER" in answer.stdout
    storage = checkout.parent / "storage"
    shell(checkout, f"dvc remote add -q -d storage {storage} && git commit -q -a -m remote")
    assert "objects are missing or damaged at " in _data(checkout).found
    shell(checkout, "dvc push -q")
    assert _data(checkout).status == "ok"
    # A dirty tree, locks of the dead, unknown parameters, a server that is not there, data that is not pushed.
    edit(checkout / "params.yaml", "image_size: 16", "image_size: 15")
    (checkout / ".dvc/tmp").mkdir(exist_ok=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    entry = {"/x": {"write": {"pid": gone.pid, "cmd": "dvc repro"}, "read": []}}
    (checkout / ".dvc/tmp/rwlock").write_text(json.dumps(entry))
    (checkout / "dvc.lock").write_text("")
    index = checkout / ".git/index.lock"
    index.write_text("")
    os.utime(index, (time.time() - 3600,) * 2)
    held = [".genai/runs/x/lock", ".genai/retraining.lock", ".genai/worktrees/retrain-x/.genai/run.lock"]
    for path in held:
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text(str(gone.pid))
    hold = "import fcntl, sys, time; f = [open(p, 'a+') for p in sys.argv[1:]]; [fcntl.flock(x, 2) for x in f]; "
    hold += "print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, *(str(checkout / path) for path in held)]
    left = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert left.stdout
        left.stdout.readline()
        answer = genai(checkout, "doctor", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    finally:
        left.kill()
        left.communicate()
    assert answer.returncode == 1
    found = {check["name"]: check for check in json.loads(answer.stdout)}
    assert found["params.yaml"]["status"] == "fail"
    assert "image_size: got 15" in found["params.yaml"]["found"]
    assert found["server"]["status"] == found["workers"]["status"] == "fail"
    assert found["git"]["status"] == "warn"
    assert found["locks"]["status"] == "fail"
    for path in held:
        assert f"{path} is still held by processes of a dead run: process {left.pid}" in found["locks"]["found"]
    for what in ("dvc.lock is empty", f"names processes that have ended: {gone.pid}", "index.lock is older"):
        assert what in found["locks"]["found"]


@pytest.mark.parametrize(
    ("host", "why"), [("no.such.invalid", "is not known here"), ("192.0.2.1", "another machine's")]
)
def test_a_wrong_host_is_not_a_wrong_port(host: str, why: str) -> None:
    with pytest.raises(ServicesError, match=why) as raised:
        services._check_port(host, 0)
    assert "choose another port" not in str(raised.value)
