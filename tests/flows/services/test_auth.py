"""Prefect's real server with a password and CSRF protection, set as in docs/deploying.md: what gives access."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.executors.order import Outcome
from flows.process import Processes
from flows.retraining import RetrainError
from flows.retraining.approval import answer, waiting
from flows.services import job_run
from flows.services.api import Api
from flows.services.doctor_server import check_server
from flows.services.job_report import Report
from flows.services.settings import AUTH, SERVER_AUTH, URL, Credentials
from flows.services.zombie_runs import NO_HEARTBEAT, STUCK, outdated_automations
from tests.flows.conftest import DVC_WARNS, ROOT, genai, prefect_server

pytestmark = DVC_WARNS
SECRET = "me:pass word"


@pytest.fixture(scope="module")
def locked(
    _own_settings: None, tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path]
) -> Iterator[str]:
    """The address of a server that requires SECRET, and a token with each change."""
    protected = {SERVER_AUTH: SECRET, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}
    with prefect_server(prefect_home(tmp_path_factory.mktemp("locked")), **protected) as url:
        yield url


def runs_at(url: str) -> list[str]:
    found = Api(url, Credentials(auth=SECRET)).post("flow_runs/filter")
    return [run["state"]["name"] for run in found]


def test_run_at_the_users_own_server(fresh: Path, locked: str) -> None:
    """The one variable that `genai up` requires is enough in the same terminal."""
    before = len(runs_at(locked))
    answered = genai(fresh, "run", "prepare", api_url=locked, **{SERVER_AUTH: SECRET})
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert "401" not in answered.stderr
    states = runs_at(locked)
    assert (len(states), states[0]) == (before + 1, "Completed")


def test_missing_credentials_give_a_message_of_one_line(fresh: Path, locked: str) -> None:
    for variables in ({}, {AUTH: "me:wrong"}, {"PREFECT_API_KEY": "pnu_1"}):
        answered = genai(fresh, "run", "prepare", api_url=locked, **variables)
        assert answered.returncode == 2, answered.stdout + answered.stderr
        assert "set PREFECT_API_AUTH_STRING to the server's user:password" in answered.stderr
        assert "Traceback" not in answered.stderr


def test_the_process_of_a_pools_job_reports(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome_of(_order: object, report: Report, _processes: Processes) -> Outcome:
        report.line("a line")
        api._csrf._token = "expired"
        return Outcome("k", 1, {"cmd": "true"}, ran=True, seconds=2.0)

    monkeypatch.setattr(job_run, "order_from", lambda _text: None)
    monkeypatch.setattr(job_run, "outcome_of", outcome_of)
    api = Api(locked, Credentials(auth=SECRET))
    flow = api.post("flows/", name="genai-job")
    run = api.post("flow_runs/", flow_id=flow["id"], parameters={"order": "{}"})["id"]
    assert job_run.execute_run(api, run, Processes()) == 0
    assert api.get(f"flow_runs/{run}")["state"]["message"] == "ran in 2.0 s"
    (line,) = api.post("logs/filter", logs={"flow_run_id": {"any_": [run]}})
    assert line["message"] == "a line"


@pytest.mark.long
def test_run_has_the_credentials_of_its_temporary_server(fresh: Path) -> None:
    answered = genai(fresh, "run", "prepare", timeout=200.0, **{SERVER_AUTH: SECRET, AUTH: "for:another"})
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert "Traceback" not in answered.stderr


@pytest.mark.parametrize("place", ["environment", ".env", "prefect.toml", "profile", "address"])
def test_doctor_and_approve_send_credentials(
    tmp_path: Path, locked: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    api = Api(locked, Credentials(auth=SECRET))
    run = api.post("flow_runs/", name="calm-owl", flow_id=api.post("flows/", name="retrain")["id"])
    with waiting(tmp_path, run["id"], "calm-owl", locked):
        with pytest.raises(RetrainError, match=r"did not reach calm-owl: .*status 401"):
            answer(tmp_path, None, promote=True, note="")
        if place == "environment":
            monkeypatch.setenv(URL, locked)
            monkeypatch.setenv(AUTH, SECRET)
        elif place == "address":
            monkeypatch.setenv(URL, locked.replace("//", "//me:pass%20word@"))
        elif place == "prefect.toml":
            (tmp_path / place).write_text(f'[api]\nurl = "{locked}"\nauth_string = "{SECRET}"\n')
        elif place == ".env":
            (tmp_path / place).write_text(f'{URL}={locked}\n{AUTH}="{SECRET}"\n')
        else:
            settings = f'{URL} = "{locked}"\n{AUTH} = "{SECRET}"\n'
            (tmp_path / "profiles.toml").write_text(f'active = "office"\n[profiles.office]\n{settings}')
        found = check_server(tmp_path)
        assert found.status == "ok", found
        assert "pass" not in found.found
        with pytest.raises(
            RetrainError, match="calm-owl did not accept the answer"
        ):  # authorised, but no retraining waits
            answer(tmp_path, None, promote=True, note="")


@pytest.mark.long
def test_deployment_by_hand_creates_the_automations_for_zombie_runs(fresh: Path, locked: str) -> None:
    """As in docs/deploying.md for an existing server, without `genai up`."""
    api = Api(locked, Credentials(auth=SECRET))
    (fresh / "flows").symlink_to(ROOT / "flows")
    shutil.copytree(ROOT / "deployments", fresh / "deployments")
    api.post("work_pools/", name="genai", type="process")
    assert outdated_automations(api) == (NO_HEARTBEAT, STUCK)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml"]
    variables = {URL: locked, AUTH: SECRET, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    deployed = subprocess.run(
        [*command, "--name", "sample-production"],
        cwd=fresh,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert [entry["name"] for entry in api.post("deployments/filter")] == ["sample-production"]
    assert outdated_automations(api) == ()


def test_password_of_an_address_is_not_printed_or_stored(tmp_path: Path) -> None:
    with waiting(tmp_path, "1", "calm-owl", "https://me:secret@host/api"):
        values = json.loads((tmp_path / ".genai/retrain/waiting.json").read_text())
    assert values["api"] == "https://host/api"
