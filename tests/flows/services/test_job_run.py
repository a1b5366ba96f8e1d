"""The process that a worker of a pool starts: the states of its flow run, on a real server."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.executors.order import Outcome
from flows.executors.pool_deployment import COMMAND, PROCESS
from flows.process import Processes, Stopped
from flows.services import job_run
from flows.services.api import Api
from flows.services.job_run import execute_run
from tests.flows.conftest import Server

ENTRY = {"cmd": "true", "outs": []}


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server.url)


@pytest.fixture
def run(api: Api) -> str:
    flow = api.post("flows/", name="genai-job")
    return str(api.post("flow_runs/", flow_id=flow["id"], parameters={"order": "{}"})["id"])


def state_of(api: Api, run: str) -> tuple[str, str]:
    state = api.get(f"flow_runs/{run}")["state"]
    return state["name"], state["message"]


def set_state(api: Api, run: str, kind: str) -> None:
    api.post(f"flow_runs/{run}/set_state", state={"type": kind, "name": kind.capitalize()}, force=True)


def works(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Outcome]) -> None:
    """Let the job be `act`, which prints a line before."""

    def outcome_of(_order: Any, report: Any, _processes: Processes) -> Outcome:
        report.line("a line")
        return act()

    monkeypatch.setattr(job_run, "order_from", lambda _text: None)
    monkeypatch.setattr(job_run, "outcome_of", outcome_of)


def test_a_job_that_succeeds(
    api: Api, run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome("k", 1, ENTRY, ran=True, seconds=2.0)
    said = []

    def act() -> Outcome:
        said.append(capsys.readouterr().out)
        return outcome

    works(monkeypatch, act)
    assert execute_run(api, run, Processes()) == 0
    assert said == [f"flow run {run} of {api.url}\n"], "a container that prints nothing for a minute loses its worker"
    assert state_of(api, run) == ("Completed", "ran in 2.0 s")
    (report,) = api.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    assert (report["data"]["outcome"], report["data"]["lines"]) == (outcome.text(), 1)
    (line,) = api.post("logs/filter", logs={"flow_run_id": {"any_": [run]}})
    assert (line["name"], line["message"]) == ("prefect.flow_runs.stage", "a line")


def test_a_job_that_fails(api: Api, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute_run(api, run, Processes()) == 0
    assert "written by another version" in state_of(api, run)[1]

    def fail() -> Outcome:
        raise OSError("no space left")

    works(monkeypatch, fail)
    set_state(api, run, "PENDING")
    assert execute_run(api, run, Processes()) == 0
    name, message = state_of(api, run)
    assert (name, "OSError: no space left" in message) == ("Failed", True)


@pytest.mark.parametrize(
    ("state", "end"), [("RUNNING", "Crashed"), ("CANCELLING", "Cancelled"), ("COMPLETED", "Completed")]
)
def test_a_process_that_is_stopped(api: Api, run: str, state: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its worker, which stops too, or because the run was cancelled, or given up."""

    def stop() -> Outcome:
        set_state(api, run, state)
        raise Stopped

    works(monkeypatch, stop)
    assert execute_run(api, run, Processes()) == 0
    assert state_of(api, run)[0] == end


def test_a_run_that_is_over_does_not_begin(api: Api, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_state(api, run, "CANCELLED")
    assert execute_run(api, run, Processes()) == 0
    assert state_of(api, run)[0] == "Cancelled"
    assert "the run does not begin" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")
def test_the_command_finds_the_interpreter_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text("import sys; print(sys.executable)")
    command = shlex.split(COMMAND.replace(PROCESS, "probe"))
    code = f"import subprocess; subprocess.run({command!r}, check=True)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    worker = [sys.executable, "-c", code]
    answer = subprocess.run(worker, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == sys.executable


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")
def test_the_worker_may_have_been_started_as_a_relative_path(tmp_path: Path) -> None:
    """As `.venv/bin/python -m prefect worker start`; the job's own folder is another one."""
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$0"\n')
    python.chmod(0o755)
    # A shell stands for the worker. The first word of its command line is what it was started as.
    worker = ["bin/python3", "-c", f"env -C / {COMMAND}; true"]
    answer = subprocess.run(
        worker, executable="/bin/sh", cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == str(python)
