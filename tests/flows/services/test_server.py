"""The Prefect server that a run reports to, found without importing prefect; the port of a temporary one."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flows.services import server as server_module
from flows.services.server import _SCRIPT, ServerError, ensure_prefect_api
from flows.services.settings import configured_api_url
from flows.services.zombie_runs import HEARTBEAT_TIMEOUT_S
from flows.web import WebError
from tests.flows.conftest import diary, ended, started_genai, wait_for
from tests.flows.web_servers import no_http

PROFILES = """
active = "office"
[profiles.office]
PREFECT_API_URL = "http://office:4200/api"
[profiles.home]
PREFECT_LOGGING_LEVEL = "DEBUG"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


def test_no_server_is_configured(home: Path) -> None:
    assert configured_api_url() is None
    (home / "profiles.toml").write_text("")
    assert configured_api_url() is None
    (home / "profiles.toml").write_text("active = [")
    assert configured_api_url() is None
    (home / "profiles.toml").write_text('active = "gone"\n')
    assert configured_api_url() is None


def test_the_active_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text(PROFILES)
    assert configured_api_url() == "http://office:4200/api"
    monkeypatch.setenv("PREFECT_PROFILE", "home")
    assert configured_api_url() is None
    monkeypatch.delenv("PREFECT_PROFILE")
    monkeypatch.setenv("PREFECT_API_URL", "http://other/api")
    assert configured_api_url() == "http://other/api"


def test_profiles_file_in_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "elsewhere.toml").write_text(PROFILES)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(home / "elsewhere.toml"))
    assert configured_api_url() == "http://office:4200/api"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://no-such-host.invalid/api", "not an address"])
def test_unreachable_server(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.delenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(ServerError, match="no Prefect server answers at"):
        ensure_prefect_api()
    # Prefect's own pulse, 180 s, would have a run of the command line called dead by `genai up`'s automation.
    assert float(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) < HEARTBEAT_TIMEOUT_S / 2


def test_server_that_is_not_prefects(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_http() as port:
        monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@127.0.0.1:{port}/api")
        monkeypatch.setattr(os, "environ", os.environ.copy())
        with pytest.raises(ServerError, match=f"answers at http://127.0.0.1:{port}/api .*is not HTTP") as error:
            ensure_prefect_api()
    assert "secret" not in str(error.value)


def test_no_other_process_can_take_a_temporary_servers_port(home: Path) -> None:
    """The serving process binds the port before it prints it, and refuses connections until it listens."""
    command = [sys.executable, "-P", str(_SCRIPT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline())
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    thief.bind(("127.0.0.1", port))
        finally:
            server.kill()


def test_a_server_that_takes_too_long_is_no_server_that_died(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "START_TIMEOUT_S", 0.01)
    server = server_module._TemporaryServer(None)
    server.start()
    try:
        with pytest.raises(ServerError, match=r"did not start: .*not up after 0 s; is the machine very busy"):
            server.url()
    finally:
        server.stop()


def test_a_server_that_died_is_not_called_slow(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dies.py"
    script.write_text("print('no room for the database')")
    monkeypatch.setattr(server_module, "_SCRIPT", script)
    server, over = server_module._TemporaryServer(None), threading.Event()
    serve = server._serve
    # The thread that serves is alive for longer than it takes to build the message.
    server._thread = threading.Thread(target=lambda: (serve(), over.wait(60.0)), daemon=True)
    server.start()
    try:
        with pytest.raises(ServerError, match=r"did not start: no room for the database$"):
            server.url()
        with pytest.raises(ServerError, match=r"did not start: no room for the database$"):
            server.wait_until_healthy("http://127.0.0.1:9/api")
    finally:
        over.set()
        server.stop()


def test_slow_requests_count_towards_the_time_to_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "START_TIMEOUT_S", 1.0)
    server, over, asked = server_module._TemporaryServer(None), threading.Event(), list[str]()
    server._thread = threading.Thread(target=over.wait, daemon=True)  # alive, and never up

    def slow(url: str, **_: float) -> None:
        asked.append(url)
        time.sleep(0.5)
        raise WebError("timed out")

    monkeypatch.setattr(server_module, "send", slow)
    server.start()
    try:
        with pytest.raises(ServerError, match=r"not up after 1 s; is the machine very busy"):
            server.wait_until_healthy("http://127.0.0.1:9/api")
    finally:
        over.set()
    assert 1 <= len(asked) <= 2


def servers_of(pid: int) -> list[psutil.Process]:
    """The running temporary servers of a run."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            command = process.cmdline()
            if command[1:2] == ["-P"] and any(part.endswith(_SCRIPT.name) for part in command):  # not its supervisor
                found.append(process)
    return found


@pytest.mark.long
def test_killed_temporary_server_is_restarted(
    fresh: Path, tmp_path: Path, prefect_home: Callable[[Path], Path]
) -> None:
    """Otherwise Prefect's client would wait for minutes at each step."""
    go = tmp_path / "go"
    toy = {"train@gan": {"until": str(go)}}
    with started_genai(fresh, "run", toy=toy, PREFECT_HOME=str(prefect_home(tmp_path / "prefect"))) as process:
        wait_for(lambda: diary(fresh, "train@gan"), 60.0)
        (server,) = servers_of(process.pid)
        server.kill()
        wait_for(lambda: [one for one in servers_of(process.pid) if one != server], 60.0)
        go.touch()
        status, output = ended(process, 120.0)
    assert status == 0, output
    assert "train@gan       ✓ ran in" in output
    assert "Traceback" not in output
