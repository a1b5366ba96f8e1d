"""One pipeline on several machines, simulated on one: separate homes, clones and caches, a git remote, an S3 server.

    python -m benchmarks.scale_out --checkout PATH                       # the toy pipeline, and killed workers
    python -m benchmarks.scale_out --checkout PATH --pipeline digits     # the demo's own pipeline

It starts a Prefect server, an S3 server, and workers, each with its own home and no shared disk. It runs the pipeline
on one machine (`--executor local`) and on the workers (`--executor pool`), and compares the hashes of all outputs.
Metrics of time (metrics/cost) and the report, which shows them, differ between any two runs and are not compared.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
from moto.server import ThreadedMotoServer
from ruamel.yaml import YAML

from flows.services.api import Api, ApiError
from tests.flows.conftest import prefect_server
from tests.flows.toy_home import new_toy, own_settings, shell

ROOT = Path(__file__).parents[1]
BUCKET, POOL = "store", "cpu"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
TIMED = ("metrics/cost/", "reports")  # outputs that show how long something took
# Prefect's default looks for new jobs every ten seconds.
QUICK = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "2"}


@dataclass(frozen=True)
class Site:
    """What all machines share: the address of the Prefect server, and the variables that lead to the S3 server."""

    folder: Path
    api: str
    s3: dict[str, str]

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
            **QUICK,
            "HOME": str(machine / "home"),
            "GENAI_WORKER_HOME": str(machine / "worker"),
            "PREFECT_API_URL": self.api,
            "PYTHONPATH": str(ROOT),
            "TOY_DIARY": str(self.folder / "diary"),
        }


class Worker:
    """A Prefect process worker with a home of its own."""

    def __init__(self, site: Site, name: str, toy: dict[str, Any]) -> None:
        self.folder = site.folder / name
        environment = {**site.variables(self.folder), "TOY": json.dumps(toy)}
        command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1", "--name", name]
        self._log = (self.folder / "log").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
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
        return any((self.folder / "worker").glob("*/jobs/*/checkout"))

    def fetched_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("worker/*/cache/files/md5/??/*"))

    def _owns(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get("GENAI_WORKER_HOME") == str(self.folder / "worker")
        return False


@contextmanager
def started_site(folder: Path) -> Iterator[Site]:
    """A Prefect server and an S3 server, for the body."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        s3 = {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        os.environ.update(s3)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        home = folder / "server"
        home.mkdir()
        api = stack.enter_context(prefect_server(home))
        yield Site(folder, api, s3)


def toy_workspace(folder: Path) -> Path:
    def change(values: Any) -> None:
        values["models"] = {f"model{number}": values["models"]["gan"] for number in range(4)}

    return new_toy(folder, change)


def digits_workspace(checkout: Path, folder: Path) -> Path:
    """A clone of the project with the images of a checkout in which the demo has run, and nothing that it made."""
    shell(folder.parent, f"git clone -q {ROOT} {folder}")
    shutil.copytree(checkout / "data/raw", folder / "data/raw")
    shell(folder, "dvc add -q data/raw && git add data && git commit -q -m data")
    return folder


def connect(workspace: Path, folder: Path) -> None:
    """A bare git repository as origin, the S3 server as DVC remote, and one pool."""
    shell(folder, f"git init -q --bare {folder / 'origin.git'}")
    shell(workspace, f"git remote remove origin; git remote add origin {folder / 'origin.git'}")
    shell(workspace, f"dvc remote add -q --default store s3://{BUCKET}/{workspace.name}")
    set_value(workspace, "compute", "pools", {POOL: {"cores": 64, "memory_gb": 64.0, "gpus": 0, "place": None}})
    set_value(workspace, "compute", "accelerator", "cpu")
    shell(workspace, "git add -A && git commit -q -m connected && git push -q origin HEAD:main")


def set_value(workspace: Path, section: str, key: str, value: object) -> None:
    yaml, path = YAML(), workspace / "params.yaml"
    values = yaml.load(path)
    values[section][key] = value
    yaml.dump(values, path)


def run(site: Site, workspace: Path, executor: str, toy: dict[str, Any]) -> float:
    """Run the pipeline in the workspace and return its seconds."""
    environment = {**site.variables(workspace.parent / f"of {workspace.name}"), "TOY": json.dumps(toy)}
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "run", "--executor", executor]
    began = time.monotonic()
    answer = subprocess.run(command, env=environment, cwd=workspace, text=True, capture_output=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"genai run --executor {executor} failed:\n{answer.stdout[-3000:]}{answer.stderr[-3000:]}")
    return time.monotonic() - began


def wait_until_online(site: Site, count: int) -> None:
    """Return when so many workers have told the server that they are there. The first one creates the pool."""
    deadline = time.monotonic() + 180.0
    while True:
        with suppress(ApiError):
            if len(Api(site.api).post(f"work_pools/{POOL}/workers/filter")) >= count:
                return
        if time.monotonic() > deadline:
            sys.exit("the workers did not start")
        time.sleep(0.5)


def hashes(workspace: Path) -> dict[str, str]:
    """The hash of each output in dvc.lock, but for those that show how long something took."""
    stages = YAML(typ="safe").load(workspace / "dvc.lock")["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    return {path: md5 for path, md5 in outs.items() if not path.startswith(TIMED)}


def left_behind(site: Site) -> list[str]:
    """Checkouts of jobs, and references of runs, that should be gone."""
    places = [str(path) for path in site.folder.glob("*/worker/*/jobs/*/checkout")]
    return places + shell(site.folder / "origin.git", "git for-each-ref refs/genai").splitlines()


def kill_at_random(workers: list[Worker], start: Callable[[str], Worker], choices: random.Random, kills: int) -> None:
    """Kill a worker that is busy, and start another one in its place, so many times."""
    for number in range(kills):
        time.sleep(choices.uniform(2.0, 8.0))
        busy = [worker for worker in workers if worker.is_busy()]
        if not busy:
            continue
        victim = choices.choice(busy)
        victim.kill()
        workers.remove(victim)
        workers.append(start(f"replacement-{number}"))
        print(f"  killed {victim.folder.name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", choices=["toy", "digits"], default="toy")
    parser.add_argument("--checkout", type=Path, help="for --pipeline digits: where the demo has run")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1, help="workers that are killed while they work")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each training of the toy pipeline")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genai-scale-out-") as name:
        measure(Path(name), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    toy = {f"train@model{number}": {"seconds": arguments.seconds} for number in range(4)}
    first = folder / "one"
    workspace = toy_workspace(first) if arguments.pipeline == "toy" else digits_workspace(arguments.checkout, first)
    os.environ.update(own_settings(folder))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request to the S3 server
    with started_site(folder) as site, ExitStack() as stack:
        connect(workspace, folder)
        several, killed = folder / "several", folder / "killed"
        for copy in (several, killed):
            shutil.copytree(workspace, copy, symlinks=True)
        print(f"one machine: {run(site, workspace, 'local', toy):.1f} s", flush=True)

        def start(name: str) -> Worker:
            worker = Worker(site, name, toy)
            stack.callback(_ended, worker)
            return worker

        workers = [start(f"worker-{number}") for number in range(arguments.workers)]
        wait_until_online(site, arguments.workers)
        print(f"{arguments.workers} workers: {run(site, several, 'pool', toy):.1f} s", flush=True)
        _compare("hashes of all outputs", hashes(workspace), hashes(several))
        print(f"  left behind: {left_behind(site) or 'nothing'}")
        moved = [worker.fetched_bytes() for worker in workers]
        print(f"  MB in the caches of the workers: {', '.join(f'{count / 1e6:.2f}' for count in moved)}")
        print(f"  again, nothing changed: {run(site, several, 'pool', toy):.1f} s", flush=True)
        if arguments.kills:
            for changed in (workspace, killed):  # nothing of it is in a cache
                set_value(changed, "data", "image_size", 8)
            run(site, workspace, "local", toy)
            choices = random.Random(arguments.seed)
            killer = threading.Thread(target=kill_at_random, args=(workers, start, choices, arguments.kills))
            killer.start()
            print(f"with {arguments.kills} killed workers: {run(site, killed, 'pool', toy):.1f} s", flush=True)
            killer.join()
            _compare("hashes of all outputs", hashes(workspace), hashes(killed))
            print(f"  left behind: {left_behind(site) or 'nothing'}")


def _compare(what: str, one: dict[str, str], other: dict[str, str]) -> None:
    differing = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    print(f"  {what}: {f'DIFFERENT: {differing}' if differing else f'the same ({len(one)})'}", flush=True)
    if differing:
        sys.exit(1)


def _ended(worker: Worker) -> None:
    with suppress(OSError, ValueError):
        worker.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
