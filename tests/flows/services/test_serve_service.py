"""The server for models that `genai up` starts: its command, and what `genai doctor` says of it."""

import socket
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.process import start_service
from flows.services.processes import Service, State, terminate, write_state
from flows.services.serve_service import NAME, check_serving, is_ready, serve_command, serve_url, wanted_server
from genai_core.config import ServeConfig
from tests.flows.conftest import ROOT, set_parameter
from tests.flows.serving.served import save_tiny_model

CONFIG = ServeConfig(
    up=True,
    models=("prod", "trained/vae"),
    host="127.0.0.1",
    port=8123,
    devices=("cpu",),
    threads=None,
    queue_images=512,
    batch_images=64,
    token_rate=1200,
)


def test_the_command_takes_every_option(tmp_path: Path) -> None:
    """`genai serve` parses it: only --help keeps it from starting."""
    for changes in ({}, {"threads": 2, "devices": ("cpu", "cuda:1"), "host": "::1"}):
        command = serve_command(tmp_path, CONFIG.model_copy(update=changes))
        assert command[:3] == [sys.executable, "-m", "flows.cli"]
        answer = CliRunner().invoke(main, [*command[3:], "--help"])
        assert answer.exit_code == 0, answer.output
        unknown = CliRunner().invoke(main, [*command[3:], "--unknown"])
        assert "No such option" in unknown.output


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::1", "http://[::1]:8123"),
        ("10.0.0.7", "http://10.0.0.7:8123"),
    ],
)
def test_the_address_for_this_machine(host: str, url: str) -> None:
    assert serve_url(CONFIG.model_copy(update={"host": host})) == url


def test_nothing_is_started_unless_params_yaml_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert wanted_server(tmp_path) is None
    assert check_serving(tmp_path).status == "ok"
    set_parameter(tmp_path, "serve.up", True)
    assert wanted_server(tmp_path) is not None
    found = check_serving(tmp_path)
    assert (found.status, found.todo) == ("warn", "genai up")


def test_doctor_asks_the_running_server(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    save_tiny_model(tmp_path / "small", "gan")
    config = CONFIG.model_copy(update={"models": (str(tmp_path / "small"),), "port": free_port()})
    for name in ("up", "models", "port", "devices"):
        value = getattr(config, name)
        set_parameter(tmp_path, f"serve.{name}", list(value) if isinstance(value, tuple) else value)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    pid = start_service(serve_command(tmp_path, config), folder=tmp_path, environment=environment, log=tmp_path / "log")
    service = Service(NAME, pid, psutil.Process(pid).create_time())
    write_state(tmp_path, State("http://127.0.0.1:9/api", (service,)))
    try:
        while not is_ready(config):
            assert service.process(), (tmp_path / "log").read_text()
        assert check_serving(tmp_path).status == "ok"
        set_parameter(tmp_path, "serve.port", free_port())
        found = check_serving(tmp_path)
        assert (found.status, "genai down, then genai up" in found.todo) == ("fail", True)
        set_parameter(tmp_path, "serve.up", False)
        assert check_serving(tmp_path).status == "warn"
    finally:
        terminate(service)
    assert service.process() is None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
