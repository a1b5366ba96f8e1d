"""A pipeline of many stages on many workers: what the Prefect server, the database and the coordinator have to do.

    python -m benchmarks.scale_out_size                                 # 100, 300 and 1,000 stages, 100 workers
    python -m benchmarks.scale_out_size --stages 100 --database sqlite
    python -m benchmarks.scale_out_size --stages 40 --workers 8 --seconds 3    # a quick try

Real: Prefect's server, PostgreSQL, `genai run --executor pool` with git, DVC and a folder as DVC remote. The workers
are Prefect's own as far as the server can tell, but simulated in one process (size_workers.py), as 100 real ones do not
fit on one machine. All share its cores, so a real site is quicker. The numbers of calls are those of a real one.

Printed per size: what workers without jobs cost; seconds to plan, of the whole run, and until the first and the last
job were handed out; processor seconds of each part; calls to the API per stage, by caller and route.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.scale_out_machines import POOL, ROOT, set_value
from benchmarks.size_database import started_postgres
from benchmarks.size_server import PATH
from benchmarks.size_usage import Usage, sampled
from flows.services.api import Api, ApiError
from tests.flows.toy_home import new_toy, own_settings, shell

LAYERS = 4  # of stages that wait for those before them
CREATED = "POST /deployments/{id}/create_flow_run"
START_S = 300.0
WAITING_S = 30.0

Calls = dict[tuple[str, str], tuple[int, float]]  # by caller and route: calls, seconds


def pipeline(stages: int) -> dict[str, object]:
    """A dvc.yaml with so many stages: one, layers of equal width, one that needs all of the last layer."""
    width, rest = divmod(stages - 2, LAYERS)
    found: dict[str, object] = {"first": _stage("first", "data/raw", "out/first")}
    before = "out/first"
    for number in range(LAYERS):
        items = [f"{item:04}" for item in range(width + (rest if number == 0 else 0))]
        name, out = f"layer{number}", f"out/layer{number}/${{item}}"
        found[name] = {"foreach": items, "do": _stage(name, before, out)}
        before = out
    return {"stages": {**found, "last": _stage("last", f"out/layer{LAYERS - 1}", "out/last")}}


def _stage(name: str, dep: str, out: str) -> dict[str, object]:
    needs = {"cores": 1, "memory_gb": 0.1, "retries": 1}
    return {"cmd": f"python work.py {name} {out}", "deps": [dep], "outs": [out], "meta": needs}


def workspace_of(folder: Path, stages: int) -> Path:
    """A workspace with such a pipeline, in which nothing has run, connected to a git and a DVC remote."""
    workspace = new_toy(folder / f"stages-{stages}", lambda _values: None)
    YAML().dump(pipeline(stages), workspace / "dvc.yaml")
    origin = folder / f"origin-{stages}.git"
    shell(folder, f"git init -q --bare {origin}")
    shell(workspace, f"git remote add origin {origin} && dvc remote add -q --default store {folder / 'store'}")
    set_value(workspace, "compute", "pools", {POOL: {"cores": 64, "memory_gb": 64.0, "gpus": 0, "place": None}})
    set_value(workspace, "compute", "accelerator", "cpu")
    shell(workspace, "git add -A && git commit -q -m stages && git push -q origin HEAD:main")
    return workspace


def started(stack: ExitStack, command: list[str], log: Path, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A Python module in a process of its own, ended with the stack."""
    file = stack.enter_context(log.open("w"))
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        stdout=file,
        stderr=subprocess.STDOUT,
    )

    def end() -> None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20.0)
        process.kill()

    stack.callback(end)
    return process


def calls(api: str) -> Calls:
    """The calls that the server has had."""
    with urllib.request.urlopen(api.removesuffix("/api") + PATH, timeout=120.0) as answer:
        return {(caller, route): (count, seconds) for caller, route, count, seconds in json.load(answer)}


def planning_s(workspace: Path, variables: dict[str, str]) -> float:
    """Seconds of `genai plan`: it reads the graph, hashes the inputs, and decides each stage."""
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "plan"]
    subprocess.run(command, env={**os.environ, **variables, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    return time.monotonic() - began


class Site:
    """A Prefect server with its database, and what it has used. Both are ended with the stack."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.parts: dict[str, int] = {}
        variables = {"PREFECT_HOME": str(folder / "server")}
        if database == "postgresql":
            address, self.parts["database"] = stack.enter_context(started_postgres(folder / "database"))
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        command = ["uvicorn", "--factory", "benchmarks.size_server:create_app", "--port", str(port)]
        # As `prefect server start` has it.
        command += ["--timeout-keep-alive", "30", "--log-level", "warning"]
        self.parts["server"] = started(stack, command, folder / "server.log", variables).pid
        self.api = f"http://127.0.0.1:{port}/api"
        self._await("the server", lambda: bool(calls(self.api)) or True)

    def start_workers(self, count: int, workspace: Path, seconds: float) -> None:
        arguments = ["--workers", str(count), "--seconds", str(seconds), "--workspace", str(workspace)]
        variables = {
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(self.folder / "workers"),
            "PREFECT_LOGGING_TO_API_ENABLED": "false",  # one handler for the process of all workers
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # as docs/machines.md says
        }
        command = ["benchmarks.size_workers", *arguments]
        self.parts["workers"] = started(self._stack, command, self.folder / "workers.log", variables).pid
        online = f"work_pools/{POOL}/workers/filter"
        self._await("the workers", lambda: len(Api(self.api).post(online)) >= min(count, 200))

    def _await(self, what: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with suppress(OSError, ApiError):
                if is_there():
                    return
            if time.monotonic() > deadline:
                sys.exit(f"{what} did not start; see {self.folder}")
            time.sleep(0.5)


def show_waiting(site: Site) -> None:
    """Print what the workers cost while there are no jobs."""
    before, first, began = Usage(dict(site.parts)), calls(site.api), time.monotonic()
    before.sample()
    time.sleep(WAITING_S)
    after, passed = Usage(dict(site.parts)), time.monotonic() - began
    after.sample()
    made = sum(count for count, _ in calls(site.api).values()) - sum(count for count, _ in first.values())
    busy = {part: (after.of(part) - before.of(part)) / passed for part in site.parts}
    print(f"  workers without jobs: {made / passed:.1f} calls a second; busy", end=" ")
    print(", ".join(f"{part} {share:.0%}" for part, share in busy.items()), flush=True)


def measure(site: Site, workspace: Path, stages: int, workers: int) -> None:
    """Run the pipeline and print what it took."""
    variables = {"PREFECT_API_URL": site.api, "PREFECT_HOME": str(site.folder / "coordinator")}
    print(f"{stages} stages, {workers} workers")
    show_waiting(site)
    plan_s = planning_s(workspace, variables)
    idle = Usage(dict(site.parts))
    idle.sample()
    before, began, log = calls(site.api), time.monotonic(), site.folder / f"run-{stages}.log"
    with ExitStack() as stack:
        command = ["flows.cli", "--workspace", str(workspace), "run", "--executor", "pool"]
        process = started(stack, command, log, variables)
        usage = Usage({**site.parts, "coordinator": process.pid})
        handed = stack.enter_context(sampled(usage, lambda: handed_out(site.api, before), began))
        status = process.wait()
        whole_s = time.monotonic() - began
    if status != 0:
        sys.exit(f"genai run failed:\n{log.read_text()[-6000:]}")
    made = {key: count - before.get(key, (0, 0.0))[0] for key, (count, _) in calls(site.api).items()}
    print(f"{stages} stages, {workers} workers")
    print(
        f"  seconds: plan {plan_s:.1f}, run {whole_s:.0f}, first job after {handed.first:.1f}, last {handed.last:.1f}"
    )
    for part in ("server", "database", "coordinator", "workers"):
        used = usage.of(part) - idle.of(part)
        print(f"  {part}: {used / stages:.3f} processor s a stage, busy {used / whole_s:.0%}")
    print(f"  coordinator: {usage.most_mb:.0f} MB, {usage.most_threads} threads")
    print(f"  calls a stage: {sum(made.values()) / stages:.1f}")
    for (caller, route), count in sorted(made.items(), key=lambda item: -item[1]):
        if count >= stages / 10:
            print(f"    {count / stages:6.2f}  {caller:12} {route}")
    sys.stdout.flush()


def handed_out(api: str, before: Calls) -> int:
    return sum(count - before.get(key, (0, 0.0))[0] for key, (count, _) in calls(api).items() if key[1] == CREATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, nargs="+", default=[100, 300, 1_000])
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each job")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genai-size-") as name:
        folder = Path(name)
        os.environ.update(own_settings(folder))
        for stages in arguments.stages:  # each with a new server and database
            with ExitStack() as stack:
                own = folder / str(stages)
                own.mkdir()
                workspace = workspace_of(own, stages)
                site = Site(own, arguments.database, stack)
                site.start_workers(arguments.workers, workspace, arguments.seconds)
                measure(site, workspace, stages, arguments.workers)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
