"""Machines for benchmarks/scale_out.py, simulated on one: homes, clones and caches of their own, and two servers."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal

import boto3
import psutil
from moto.server import ThreadedMotoServer
from ruamel.yaml import YAML

from benchmarks.size_database import started_postgres
from flows.services.api import Api, ApiError
from tests.flows.conftest import prefect_server
from tests.flows.toy_home import new_toy, own_settings, shell

Database = Literal["sqlite", "postgresql"]
ROOT = Path(__file__).parents[1]
BUCKET, POOL = "store", "cpu"
FORK_SERVER = "flows.executors.fork_server"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
QUERY_S = 1.0  # Prefect's default looks for new jobs every ten seconds


@dataclass(frozen=True)
class Site:
    """What all machines share: the address of the Prefect server, and the variables that lead to the S3 server.

    query_s: how often a worker looks for new jobs.
    """

    folder: Path
    api: str
    s3: dict[str, str]
    query_s: float = QUERY_S

    def variables(self, machine: Path) -> dict[str, str]:
        """The environment of a machine: nothing of it is in another one's folders."""
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "DVC", "GIT", "GENAI"))
        }
        (machine / "home").mkdir(parents=True, exist_ok=True)
        return {
            **own,
            **own_settings(machine),
            **self.s3,
            "PREFECT_WORKER_QUERY_SECONDS": str(self.query_s),
            "PREFECT_WORKER_PREFETCH_SECONDS": "2",
            "HOME": str(machine / "home"),
            "GENAI_WORKER_HOME": str(machine / "worker"),
            "PREFECT_API_URL": self.api,
            "PYTHONPATH": str(ROOT),
            "TOY_DIARY": str(self.folder / "diary"),
        }

    def own_files(self) -> list[str]:
        """What is at the DVC remotes besides objects."""
        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ()) if "/genai/" in entry["Key"]]


def pool_worker(name: str, pool: str = POOL) -> list[str]:
    """The command of a Prefect process worker."""
    return ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", "1", "--name", name]


def dask_worker(scheduler: Path, name: str) -> list[str]:
    """The command of a Dask worker with one core. scheduler: the file that has its address."""
    own = ["--name", name, "--local-directory", f"scratch-{name}", "--resources", "cores=1 memory_gb=8 gpus=0"]
    plain = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--host", "127.0.0.1"]
    return ["dask", "worker", "--scheduler-file", str(scheduler), *plain, *own]


class Worker:
    """A worker with a home of its own. command: what starts it, a module of Python and its arguments."""

    def __init__(self, site: Site, name: str, toy: dict[str, Any], command: Sequence[str] | None = None) -> None:
        self.folder = site.folder / name
        environment = {**site.variables(self.folder), "TOY": json.dumps(toy)}
        self._stale = set(self._found())
        self._began = time.time()
        self._log = (self.folder / "log").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(command or pool_worker(name))],
            cwd=self.folder,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        """End all of its processes at once, as when the machine dies: none is left to report the others' death."""
        members = [process for process in psutil.process_iter() if self._owns(process)]
        for process in members:
            with suppress(psutil.Error):
                process.suspend()
        for process in members:
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()
        self._log.close()

    def is_busy(self) -> bool:
        return any(path not in self._stale for path in self._found())

    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    def checkouts(self) -> list[Path]:
        """Checkouts of jobs. The first job after the machine died removes those from before: they count from then."""
        newest = max((path.stat().st_mtime for path in self.folder.glob("worker/*/genai/checkpoints/*")), default=0.0)
        return [path for path in self._found() if path not in self._stale or newest > self._began]

    def jobs(self) -> list[str]:
        """The command lines of its processes besides itself and the one that forks its jobs, which waits for more."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                waits = FORK_SERVER in line and process.ppid() == self._process.pid
                if process.pid != self._process.pid and self._owns(process) and not waits:
                    found.append(line)
        return found

    def _found(self) -> list[Path]:
        return list((self.folder / "worker").glob("*/jobs/*/checkout"))

    def _owns(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get("GENAI_WORKER_HOME") == str(self.folder / "worker")
        return False


def started_s3(stack: ExitStack) -> tuple[str, int]:
    """Start an S3 server, which ends with the stack; its host and port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request to the S3 server
    stack.callback(server.stop)
    return server.get_host_and_port()


def with_bucket(address: tuple[str, int]) -> dict[str, str]:
    """Make the bucket at an S3 server, and return the variables that lead there. This process has them, too."""
    s3 = {**KEYS, "AWS_ENDPOINT_URL": f"http://{address[0]}:{address[1]}"}
    os.environ.update(s3)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return s3


def started_scheduler(folder: Path, stack: ExitStack) -> Path:
    """Start a Dask scheduler, which ends with the stack; a file with its address. This process has that, too."""
    file = folder / "scheduler.json"
    command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file"]
    with (folder / "scheduler.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command, str(file)], stdout=log, stderr=log, cwd=folder)
    stack.callback(process.wait)
    stack.callback(process.kill)
    while not file.is_file() or not file.stat().st_size:
        if process.poll() is not None:
            sys.exit(f"the Dask scheduler did not start; see {folder / 'scheduler.log'}")
        time.sleep(0.2)
    os.environ["DASK_SCHEDULER_ADDRESS"] = json.loads(file.read_text())["address"]
    return file


@contextmanager
def started_site(folder: Path, database: Database = "sqlite", query_s: float = QUERY_S) -> Iterator[Site]:
    """A Prefect server and an S3 server, for the body."""
    with ExitStack() as stack:
        s3 = with_bucket(started_s3(stack))
        home = folder / "server"
        home.mkdir()
        variables = {}
        if database == "postgresql":
            address, _ = stack.enter_context(started_postgres(folder / "database"))
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address
        api = stack.enter_context(prefect_server(home, **variables))
        yield Site(folder, api, s3, query_s)


def toy_workspace(folder: Path, models: list[str]) -> Path:
    """prepare, a branch per model, select."""

    def change(values: Any) -> None:
        values["models"] = dict.fromkeys(models, values["models"]["gan"])

    return new_toy(folder, change)


def digits_workspace(checkout: Path, folder: Path) -> Path:
    """A clone of the project with the images of a checkout in which the demo has run, and nothing that it made."""
    shell(folder.parent, f"git clone -q {ROOT} {folder}")
    shutil.copytree(checkout / "data/raw", folder / "data/raw")
    shell(folder, "dvc add -q data/raw && git add data && git commit -q -m data")
    return folder


def connect(workspace: Path, origin: Path, pool: str = POOL) -> None:
    """A bare git repository as origin, with a branch of the workspace's name; the S3 server as DVC remote; one pool."""
    shell(origin.parent, f"git init -q --bare {origin}")
    shell(workspace, f"git remote remove origin; git remote add origin {origin}")
    shell(workspace, f"dvc remote add -q --default store s3://{BUCKET}/{workspace.name}")
    shell(workspace, "dvc remote modify -q store region us-east-1")  # as docs/machines.md recommends
    set_value(workspace, "compute", "pools", {pool: {"cores": 64, "memory_gb": 64.0, "gpus": 0, "place": None}})
    set_value(workspace, "compute", "accelerator", "cpu")
    shell(workspace, f"git add -A && git commit -q -m connected && git push -q origin HEAD:{workspace.name}")


def keep_only(workspace: Path, model: str, width: int | None = None, **training: object) -> None:
    """Leave one model, with a training that differs so, and a checkpoint every second. width: of its network."""
    yaml, path = YAML(), workspace / "params.yaml"
    values = yaml.load(path)
    values["models"] = {model: values["models"][model]}
    values["models"][model]["training"].update(training)
    if width is not None:
        values["models"][model]["network"]["width"] = width
    values["compute"]["checkpoint_every_s"] = 1
    yaml.dump(values, path)


def set_value(workspace: Path, section: str, key: str, value: object) -> None:
    yaml, path = YAML(), workspace / "params.yaml"
    values = yaml.load(path)
    values[section][key] = value
    yaml.dump(values, path)


def started_run(
    site: Site,
    workspace: Path,
    *arguments: str,
    toy: dict[str, Any],
    output: int | IO[str] = subprocess.PIPE,
    more: Mapping[str, str] = MappingProxyType({}),
) -> "subprocess.Popen[str]":
    """`genai run` in the workspace, on a machine of its own. more: variables."""
    environment = {**site.variables(workspace.parent / f"of {workspace.name}"), "TOY": json.dumps(toy), **more}
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "run", *arguments]
    return subprocess.Popen(command, env=environment, cwd=workspace, text=True, stdout=output, stderr=subprocess.STDOUT)


def run(site: Site, workspace: Path, *arguments: str, toy: dict[str, Any]) -> float:
    """Run the pipeline in the workspace and return its seconds."""
    began = time.monotonic()
    with started_run(site, workspace, *arguments, toy=toy) as process:
        output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"genai run {' '.join(arguments)} failed:\n{output[-6000:]}")
    return time.monotonic() - began


def wait_until_online(site: Site, count: int, pool: str = POOL) -> None:
    """Return when so many workers have told the server that they are there. The first one creates the pool."""
    deadline = time.monotonic() + 180.0
    while True:
        with suppress(ApiError):
            if len(Api(site.api).post(f"work_pools/{pool}/workers/filter")) >= count:
                return
        if time.monotonic() > deadline:
            sys.exit("the workers did not start")
        time.sleep(0.5)
