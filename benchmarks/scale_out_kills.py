"""Random failures of a run on several machines: are results those of one machine, and is anything left behind?

    python -m benchmarks.scale_out_kills --kills 50                       # of each kind, on a work pool of Prefect
    python -m benchmarks.scale_out_kills --kills 5 --kinds coordinator    # only these
    python -m benchmarks.scale_out_kills --executor dask                  # on a Dask cluster

A toy pipeline (real DVC and git, a Prefect server, an S3 server as DVC remote) runs on workers with homes of their own.
While it is under way, failures of five kinds strike it at random moments, four to eight in each run: one worker, all
workers, the coordinator (then `genai run --resume`, in its checkout or in a clone), and 20 s without the S3 server or
the Prefect server. A run that was struck must complete. Then this is looked at:

equal   the hash of each output is what plain `dvc repro` makes of the same parameters on one machine
left    processes and checkouts on machines that live, references at the git remote, files at the DVC remote that are
        no objects, variables of the run at the Prefect server; all must be gone after PATIENCE_S. At the end, no flow
        run may count as active at the server
twice   each result that a coordinator accepts is a line in the stage's log, with the attempt and the seconds of the
        execution that made it. The logs of all coordinators of a run must name one execution per stage (another
        coordinator may take over the same one), and no coordinator may finish a stage twice

It ends with 1 if something was other than it should be; then its folder stays, with all logs.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.outages import Forwarder, PrefectServer
from benchmarks.scale_out import hashes
from benchmarks.scale_out_failures import KINDS, Failure, Outages, draw
from benchmarks.scale_out_machines import (
    Site,
    Worker,
    connect,
    dask_worker,
    pool_worker,
    set_value,
    started_s3,
    started_scheduler,
    toy_workspace,
    wait_until_online,
    with_bucket,
)
from benchmarks.scale_out_struck import Fleet, Scene, StruckRun
from flows.services.api import Api, ApiError
from flows.services.zombie_runs import HEARTBEAT_S, HEARTBEAT_TIMEOUT_S, ensure_automations
from tests.flows.toy_home import own_settings, shell

MODELS = [f"model{number}" for number in range(3)]
# A worker that was given up sees that within 10 s, and has 10 s to end its stage.
PATIENCE_S = 45.0
_ACTIVE = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


class Sweep:
    """Runs, one after another, until enough failures of each kind have struck. wanted: of each kind."""

    def __init__(self, scene: Scene, folder: Path, reference: Path, seed: int, wanted: dict[str, int]) -> None:
        self._scene, self._folder, self._reference, self._seed, self._wanted = scene, folder, reference, seed, wanted
        self.failures: list[Failure] = []
        self.faults: list[str] = []
        self.runs = 0

    def run(self, executor: str, until: float) -> None:
        while any(self._wanted.values()) and time.monotonic() < until:
            self.runs += 1
            failures, choose = draw(self._seed, self.runs, self._wanted)
            self._scene.say(f"run {self.runs}")
            mark, folder = f"{self._seed}-{os.getpid()}-{self.runs}-", self._folder / f"run-{self.runs}"
            struck = StruckRun(self._scene, folder, 0.1 + self.runs / 2000, executor, mark)
            struck.run(failures, choose)
            self._look(struck)
            if not self.faults or not self.faults[-1].startswith(f"run {self.runs}:"):
                shutil.rmtree(folder)

    def look_at_server(self) -> None:
        """No flow run may count as active long after the last run. Heartbeats that end say so of killed processes."""
        deadline = time.monotonic() + HEARTBEAT_TIMEOUT_S + 60.0
        filters = {"state": {"type": {"any_": _ACTIVE}}}
        while (runs := asked(self._scene.site.api, "flow_runs/filter", flow_runs=filters)) and (
            time.monotonic() < deadline
        ):
            time.sleep(2.0)
        self.faults += [f"at the server: {run['name']} is {run['state_name']} since {run['updated']}" for run in runs]

    def _look(self, struck: StruckRun) -> None:
        self._scene.outages.end_due(at_once=True)
        faults = list(struck.faults)
        set_value(self._reference, "data", "test_share", 0.1 + self.runs / 2000)
        shell(self._reference, "dvc repro -q")
        equal = False
        with suppress(OSError, TypeError, KeyError):  # not completed
            equal = hashes(self._reference) == hashes(struck.workspace)
        if not equal:
            faults.append("other hashes than those of one machine")
        deadline = time.monotonic() + PATIENCE_S
        while (left := [*struck.left(), *self._variables()]) and time.monotonic() < deadline:
            time.sleep(1.0)
        faults += [f"left behind: {what}" for what in left]
        twice = struck.twice()
        faults += [f"accepted twice: {what}" for what in twice]
        for failure in struck.struck:
            failure.equal, failure.left, failure.twice = equal, left, twice
            self._wanted[failure.kind] -= 1
        self.failures += struck.struck
        self.faults += [f"run {self.runs}: {fault}" for fault in faults]
        for fault in faults:
            self._scene.say(f"    FAULT: {fault}")
        counts = Counter(failure.kind for failure in self.failures)
        self._scene.say(
            f"    {'equal' if equal else 'DIFFERENT'}; {len(struck.outputs)} coordinators; so far: "
            f"{', '.join(f'{counts[kind]} {kind}' for kind in KINDS)}"
        )

    def _variables(self) -> list[str]:
        self._scene.outages.wait_for_prefect()
        found = asked(self._scene.site.api, "variables/filter")
        return [f"variable: {variable['name']}" for variable in found if variable["name"].startswith("genai-run-")]


def asked(api: str, path: str, **body: Any) -> Any:
    """What a Prefect server answers, which may take long on a busy machine."""
    for _ in range(20):
        with suppress(ApiError):
            return Api(api).post(path, **body)
    sys.exit(f"the Prefect server does not answer to {path}")


def print_table(failures: list[Failure]) -> None:
    """Each kind and way, and what came of it."""
    print("| kind | way | failures | equal | left behind | accepted twice |\n|---|---|---|---|---|---|")
    for kind, way in sorted({(one.kind, one.way) for one in failures}, key=lambda row: (KINDS.index(row[0]), row[1])):
        those = [failure for failure in failures if (failure.kind, failure.way) == (kind, way)]
        left = {line for failure in those for line in failure.left}
        twice = {line for failure in those for line in failure.twice}
        equal = sum(failure.equal is True for failure in those)
        print(f"| {kind} | {way} | {len(those)} | {equal} | {len(left) or 'nothing'} | {len(twice) or 'none'} |")


def started_scene(folder: Path, stack: ExitStack, executor: str, workers: int, seconds: float) -> Scene:
    """Servers, workers and the pipeline. seconds: of each training, and a bit more on each further worker."""
    prefect = PrefectServer(folder / "server")
    stack.callback(prefect.kill)
    prefect.wait()
    while True:
        with suppress(ApiError):  # a busy machine
            ensure_automations(Api(prefect.api))  # as `genai up` does
            break
    forwarder = Forwarder(started_s3(stack))
    site = Site(folder, prefect.api, with_bucket(forwarder.address))
    started: list[Worker] = []
    command = pool_worker if executor == "pool" else partial(dask_worker, started_scheduler(folder, stack))

    def start(name: str) -> Worker:
        behaviour: dict[str, Any] = {f"train@{model}": {"seconds": seconds + len(started) % 7 / 3} for model in MODELS}
        behaviour |= {stage: {"seconds": 2.0} for stage in ("prepare", "select")}
        started.append(Worker(site, name, behaviour, command(name)))
        stack.callback(_ended, started[-1])
        return started[-1]

    toy = toy_workspace(folder / "toy", MODELS)
    connect(toy, folder / "origin.git")
    fleet = Fleet(start, workers)
    if executor == "pool":
        wait_until_online(site, workers)
    return Scene(site, Outages(forwarder, prefect), fleet, folder / "origin.git", toy.name, toy / "data/raw", _say)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="of each kind")
    parser.add_argument("--executor", choices=["pool", "dask"], default="pool")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, help="[default: a new one, which is printed]")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Begin no further run after so many.")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each training")
    parser.add_argument("--folder", type=Path, help="A new folder to work in, kept.  [default: a temporary one]")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="genai-scale-out-kills-"))).resolve()
    folder.mkdir(exist_ok=True)
    print(f"seed {seed}; logs in {folder}", flush=True)
    began = time.monotonic()
    for name in [name for name in os.environ if name.startswith(("PREFECT", "DVC", "GIT"))]:
        del os.environ[name]
    os.environ.update({**own_settings(folder), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)})
    with ExitStack() as stack:
        scene = started_scene(folder, stack, arguments.executor, arguments.workers, arguments.seconds)
        reference = Path(shutil.copytree(folder / "toy", folder / "reference", symlinks=True))
        sweep = Sweep(scene, folder, reference, seed, dict.fromkeys(arguments.kinds, arguments.kills))
        try:
            sweep.run(arguments.executor, began + 60.0 * arguments.minutes)
            sweep.look_at_server()
        finally:
            minutes = (time.monotonic() - began) / 60.0
            print(f"\nseed {seed}: {len(sweep.failures)} failures in {sweep.runs} runs, {minutes:.0f} min")
            print(f"workers that ended by themselves and were started again: {scene.fleet.ended}")
            print_table(sweep.failures)
            for fault in sweep.faults:
                print(f"FAULT {fault}")
            sys.stdout.flush()
    if not sweep.faults and arguments.folder is None:
        shutil.rmtree(folder)
    return 1 if sweep.faults else 0


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _ended(worker: Worker) -> None:
    with suppress(OSError, ValueError):
        worker.kill()


def _terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main())
