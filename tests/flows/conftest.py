"""Toy workspaces with the real DVC, a real Prefect server, and `genai` started as a user starts it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from flows.process import Processes, Stopped
from tests.conftest import MadeOnce
from tests.flows.forked import forked_genai, start_forking
from tests.flows.shared_server import start_shared_server
from tests.flows.toy_home import new_toy, own_settings, shell

ROOT = Path(__file__).parents[2]
SERVER_START_S = 120.0

# DVC 3.67 reads a property that its own dependency pygtrie is about to remove.
DVC_WARNS = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="session", autouse=True)
def _own_settings(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path], made_once: MadeOnce
) -> Iterator[None]:
    """Nothing of the user's own Prefect, DVC and git is read or written, and no GPU of the machine counts."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PREFECT", "DVC", "GIT", "TOY", "PYTHONDONT"))]:
            patch.delenv(name)
        for name, value in own_settings(folder).items():
            patch.setenv(name, value)
        prefect_home(Path(os.environ["PREFECT_HOME"]))
        forking = made_once("forking", start_forking)
        patch.setenv("TEST_FORKING", str(forking))
        patch.setenv("PATH", f"{forking / 'bin'}{os.pathsep}{os.environ['PATH']}")
        yield


def _two_models(values: Any) -> None:
    values["models"] = {name: values["models"][name] for name in ("diffusion", "gan")}


@pytest.fixture(scope="session")
def _template(_own_settings: None, made_once: MadeOnce) -> Path:
    """A toy workspace in which nothing has run."""
    return made_once("toy", lambda folder: new_toy(folder, _two_models))


@pytest.fixture(scope="session")
def _done_template(_template: Path, made_once: MadeOnce) -> Path:
    """A toy workspace that plain `dvc repro` has brought up to date."""

    def make(folder: Path) -> None:
        shutil.copytree(_template, folder, symlinks=True)
        shell(folder, "dvc repro -q")

    return made_once("toy-done", make)


@pytest.fixture
def fresh(_template: Path, tmp_path: Path) -> Path:
    """A toy workspace in which nothing has run."""
    return Path(shutil.copytree(_template, tmp_path / "fresh", symlinks=True))


@pytest.fixture
def done(_done_template: Path, tmp_path: Path) -> Path:
    """A toy workspace in which all is up to date."""
    return Path(shutil.copytree(_done_template, tmp_path / "done", symlinks=True))


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    """Replace the first `count` occurrences of a text in a file."""
    text = path.read_text()
    assert text.count(old) >= count, f"{path}: {old!r} is not there {count} times"
    path.write_text(text.replace(old, new, count))


def set_parameter(workspace: Path, key: str, value: object) -> Any:
    """Set a dotted key of params.yaml; returns what it was."""
    yaml, path = YAML(), workspace / "params.yaml"
    values = yaml.load(path)
    section = values
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    before, section[last] = section.get(last), value
    yaml.dump(values, path)
    return before


def parameter(workspace: Path, key: str) -> Any:
    value = YAML(typ="safe").load(workspace / "params.yaml")
    for part in key.split("."):
        value = value[part]
    return value


def diary(workspace: Path, stage: str, what: str = "start") -> list[dict[str, Any]]:
    """What the toy stage noted of its starts or ends."""
    path = workspace / ".genai" / "toy" / stage
    lines = path.read_text().splitlines() if path.is_file() else []
    return [entry for entry in map(json.loads, lines) if entry["what"] == what]


def processes_in(workspace: Path) -> list[str]:
    """The command lines of live processes that work in a folder or below it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(workspace):
                found.append(" ".join(process.cmdline()))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Return when the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


# --- genai, as a user starts it ---------------------------------------------------------------------------------------


def _genai(workspace: Path, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), *arguments]


def _environment(
    workspace: Path, api_url: str | None, toy: dict[str, Any] | None, variables: dict[str, str]
) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "TOY": json.dumps(toy or {}), **variables}
    own.setdefault("TOY_DIARY", str(workspace / ".genai" / "toy"))
    return {**os.environ, **own, **({"PREFECT_API_URL": api_url} if api_url else {})}


def genai(
    workspace: Path,
    *arguments: str,
    api_url: str | None = None,
    toy: dict[str, Any] | None = None,
    timeout: float = 90.0,
    forked: bool = True,
    **variables: str,
) -> "subprocess.CompletedProcess[str]":
    """Run `genai` to its end. toy: how stages behave (toy/work.py). forked: with its libraries loaded (forked.py)."""
    command = _genai(workspace, arguments)
    if forked:
        command = forked_genai(Path(os.environ["TEST_FORKING"]), "--workspace", str(workspace), *arguments)
    return subprocess.run(
        command,
        env=_environment(workspace, api_url, toy, variables),
        cwd=workspace.parent,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def started_genai(
    workspace: Path, *arguments: str, api_url: str | None = None, toy: dict[str, Any] | None = None, **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """`genai` in the background for the length of the body; it is dead afterwards."""
    process = subprocess.Popen(
        _genai(workspace, arguments),
        env=_environment(workspace, api_url, toy, variables),
        cwd=workspace.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", seconds: float = 120.0) -> tuple[int, str]:
    """Exit status and output of a started genai, which must end within so many seconds."""
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


# --- Prefect's server -------------------------------------------------------------------------------------------------


def asked(request: urllib.request.Request) -> Any:
    """A server's answer. SQLite may be busy for long on a loaded machine; Prefect's own client asks again, too."""
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=120.0) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(0.5)
    raise AssertionError(f"{request.full_url}: the server has no time")


@dataclass(frozen=True)
class Server:
    """A Prefect server, asked by HTTP as its pages ask it."""

    url: str

    def post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return asked(request)

    def flow_runs(self, workspace: Path) -> list[dict[str, Any]]:
        """The flow runs in a workspace, oldest first."""
        runs = self.post("flow_runs/filter", sort="START_TIME_ASC")
        return [run for run in runs if run["parameters"].get("workspace") == str(workspace)]

    def task_runs(self, flow_run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """A flow run's task runs by name."""
        runs = self.post("task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
        return {run["name"]: run for run in runs}

    def states(self, flow_run: dict[str, Any]) -> dict[str, str]:
        return {name: run["state"]["name"] for name, run in self.task_runs(flow_run).items()}

    def logs(self, task_run: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self.post("logs/filter", logs={"task_run_id": {"any_": [task_run["id"]]}}, sort="TIMESTAMP_ASC"))

    def artifacts(self, flow_run: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}}))


@pytest.fixture(scope="session")
def server(_own_settings: None, made_once: MadeOnce, prefect_home: Callable[[Path], Path]) -> Server:
    """A real Prefect server on loopback, one for all workers: an idle one, too, takes a twentieth of a core."""

    def start(folder: Path) -> None:
        url = start_shared_server(prefect_home(folder.with_name("server-home")))
        folder.mkdir()
        (folder / "url").write_text(url)

    return Server((made_once("server", start) / "url").read_text())


@contextmanager
def prefect_server(home: Path, **variables: str) -> Iterator[str]:
    """A real Prefect server's address. It has a lifeline: it ends with the tests, however these end."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    lines: list[str] = []
    processes = Processes(grace_s=5.0)

    def serve() -> None:
        environment = {**os.environ, "PREFECT_HOME": str(home), **variables}
        with suppress(Stopped):
            processes.run(
                [*command, "--no-ui"], folder=home, environment=environment, timeout_s=None, on_line=lines.append
            )

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + SERVER_START_S
        while not _is_healthy(url):
            assert time.monotonic() < deadline, "\n".join(lines)
            assert thread.is_alive(), "\n".join(lines)
            time.sleep(0.2)
        yield url
    finally:
        processes.stop()
        thread.join()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
