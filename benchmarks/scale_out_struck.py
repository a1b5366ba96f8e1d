"""One run on several machines that failures strike: its coordinators, one after another, and what came of it."""

import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.killed_runs import MARK, half_written, marked, worktrees
from benchmarks.scale_out_failures import ALL_WORKERS, COORDINATOR, WAYS, WORKER, Failure, Outages
from benchmarks.scale_out_machines import Site, Worker, set_value, started_run
from flows.runs.record import RunRecord, read_runs
from tests.flows.toy_home import shell

MOST_S = 1200.0  # after the last failure
MOST_FIRST_S = 40.0  # until the first failure; the command takes some seconds to begin
LOOK_S = 0.1
_REFUSED = "no Prefect server answers"  # a command says so before it begins; a person calls it again
_TAKEN = re.compile(r"^took over the result of (.+)$", re.MULTILINE)
_FINISHED = re.compile(r"^(\S+) +✓ (?:ran|restored)", re.MULTILINE)


class Fleet:
    """The workers. start: starts one on the machine of that name, new or not."""

    def __init__(self, start: Callable[[str], Worker], count: int) -> None:
        self._start, self._count = start, count
        self.workers = [start(f"worker-{number}") for number in range(count)]
        self.ended = 0  # workers that ended by themselves

    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_busy()]

    def replace(self, victims: list[Worker], *, same_machine: bool) -> None:
        """Kill workers, all at once, and start as many: on the same machines, or on new ones."""
        for victim in victims:
            victim.kill()
            self.workers.remove(victim)
        for victim in victims:
            self._count += not same_machine
            self.workers.append(self._start(victim.folder.name if same_machine else f"worker-{self._count - 1}"))

    def keep_up(self) -> None:
        """Start workers again that have ended by themselves, as a service manager does."""
        for worker in [worker for worker in self.workers if worker.has_ended()]:
            self.ended += 1
            self.replace([worker], same_machine=True)


@dataclass(frozen=True)
class Scene:
    """Where runs take place. origin: the bare git repository, with the pipeline as branch `branch`."""

    site: Site
    outages: Outages
    fleet: Fleet
    origin: Path
    branch: str
    raw: Path
    say: Callable[[str], None]


class StruckRun:
    """One run of the toy pipeline. folder: a new one, for its checkouts and the output of its coordinators.

    value: of a parameter of the first stage; of each run another one, so that all stages run.
    """

    def __init__(self, scene: Scene, folder: Path, value: float, executor: str, mark: str) -> None:
        self._scene, self._folder, self._value, self._executor, self._mark = scene, folder, value, executor, mark
        folder.mkdir()
        self.workspace = self._clone("run", with_data=True)
        self.given_up: list[Path] = []  # checkouts whose machine never died, and whose run a clone has taken over
        self.outputs: list[Path] = []
        self.logs: list[Path] = []
        self.faults: list[str] = []
        self.struck: list[Failure] = []
        self._process: subprocess.Popen[str] | None = None
        self._its_machine_died = False  # that of this workspace: what was under way there, nobody can remove
        self._taken_over: str | None = None  # the run that a clone, which does not know it yet, goes on with
        self._began = time.monotonic()

    def run(self, failures: list[Failure], choose: random.Random) -> None:
        """Let the failures strike, go on after each, and return when the run is completed, or cannot be."""
        try:
            self._run(failures, choose)
        finally:
            if self._process is not None:
                self._kill(all_of_it=True)

    def _run(self, failures: list[Failure], choose: random.Random) -> None:
        waiting, due = list(failures), self._began + choose.uniform(0.0, MOST_FIRST_S)
        last = self._began
        while time.monotonic() < last + MOST_S:
            self._scene.outages.end_due()
            self._scene.fleet.keep_up()
            if self._process is None:
                if not self._scene.outages.prefect_is_away:
                    self._start()
            elif self._process.poll() is not None:
                if self._has_completed():
                    return
                if len(self.faults) > 1:
                    break
            elif waiting and time.monotonic() >= due and (record := self._under_way()) is not None:
                # One that is not possible now, because no worker is busy, lets another one pass.
                struck = next((failure for failure in waiting if self._strike(failure, record, choose)), None)
                if struck is not None:
                    waiting.remove(struck)
                    last = time.monotonic()
                    due = last + struck.gap_s
            time.sleep(LOOK_S)
        self.faults.append(f"it is not completed {MOST_S:.0f} s after the last failure")

    @property
    def record(self) -> RunRecord | None:
        (*_, last) = read_runs(self.workspace) or [None]
        return last

    # --- coordinators -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        output = self._folder / f"coordinator-{len(self.outputs)}.log"
        record = self.record
        known = record.id if record else self._taken_over
        arguments = ["--resume", known] if known else ["--executor", self._executor]
        with output.open("w") as file:
            self._process = started_run(
                self._scene.site, self.workspace, *arguments, toy={}, output=file, more={MARK: self._mark}
            )
        self.outputs.append(output)

    def _has_completed(self) -> bool:
        """Whether the run is completed. If not, another coordinator goes on."""
        assert self._process is not None
        status, output = self._process.returncode, self.outputs[-1].read_text(errors="replace")
        self._process = None
        if status == 0:
            return True
        if _REFUSED not in output:
            self.faults.append(f"{self.outputs[-1].name}: status {status}: {output.strip()[-300:]}")
            self._scene.say(f"    FAULT: {self.faults[-1]}")
        return False

    def _under_way(self) -> RunRecord | None:
        record = self.record
        return record if record is not None and record.state == "running" else None

    def _kill(self, *, all_of_it: bool) -> None:
        """Kill the command; or all of its processes, as when the machine dies."""
        assert self._process is not None
        members = [psutil.Process(self._process.pid)]
        if all_of_it:
            self._its_machine_died = True
            members = [process for process in psutil.process_iter() if self._owns(process)]
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for process in members:
                with suppress(psutil.Error):
                    act(process)
        self._process.wait()
        self._process = None

    def _owns(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get(MARK) == self._mark
        return False

    def _clone(self, name: str, *, with_data: bool) -> Path:
        folder = self._folder / name
        shell(self._folder, f"git clone -q {self._scene.origin} -b {self._scene.branch} {folder}")
        set_value(folder, "data", "test_share", self._value)
        if with_data:
            shutil.copytree(self._scene.raw, folder / "data/raw", dirs_exist_ok=True)
        return folder

    # --- failures -----------------------------------------------------------------------------------------------------

    def _strike(self, failure: Failure, record: RunRecord, choose: random.Random) -> bool:
        """Let a failure strike; False if that is not possible now."""
        fleet, busy = self._scene.fleet, self._scene.fleet.busy()
        if failure.kind in (WORKER, ALL_WORKERS):
            if not busy:
                return False
            victims = [choose.choice(busy)] if failure.kind == WORKER else list(fleet.workers)
            fleet.replace(victims, same_machine=failure.way == WAYS[failure.kind][0])
        elif failure.kind == COORDINATOR:
            self._take_over(failure, record)
        elif self._scene.outages.may_begin(failure.kind):
            self._scene.outages.begin(failure)
        else:
            return False
        running = sorted(name for name, stage in record.stages.items() if stage.outcome == "running")
        failure.reached = ", ".join(running) or "between stages"
        self.struck.append(failure)
        self._scene.say(f"    {failure.kind}: {failure.way} ({failure.reached})")
        return True

    def _take_over(self, failure: Failure, record: RunRecord) -> None:
        """Kill the coordinator; the next one goes on where the failure says. A clone can do so once a job has begun."""
        self._kill(all_of_it="machine" in failure.way)
        logs = self.workspace / ".genai/runs" / record.id / "logs"
        if "clone" not in failure.way or not any(path.stat().st_size for path in logs.glob("*.log")):
            failure.way = failure.way.replace("a clone", "its checkout")
            return
        if not self._its_machine_died:
            self.given_up.append(self.workspace)
        self._its_machine_died = False
        self._taken_over = record.id
        self.logs.append(logs)
        self.workspace = self._clone(f"clone-{len(self.outputs)}", with_data=False)

    # --- what came of it ----------------------------------------------------------------------------------------------

    def left(self) -> list[str]:
        """What the run has left on machines that live, and at the remotes."""
        places = [self.workspace, *self.given_up]
        fleet, site = self._scene.fleet, self._scene.site
        return [
            *(f"process of a coordinator: {' '.join(process.cmdline())[-100:]}" for process in marked(self._mark)),
            *(f"worktree: {name}" for place in places for name in worktrees(place)),
            *(f"half-written: {name}" for place in places for name in half_written(place)),
            *(f"worker's checkout: {path}" for worker in fleet.workers for path in worker.checkouts()),
            *(f"worker's process: {line[-100:]}" for worker in fleet.workers for line in worker.jobs()),
            *(f"reference: {line}" for line in shell(self._scene.origin, "git for-each-ref refs/genai").splitlines()),
            *(f"at the DVC remote: {name}" for name in site.own_files()),
        ]

    def twice(self) -> list[str]:
        """Stages of which the results of two executions were accepted, or one coordinator accepted two."""
        taken: dict[str, set[str]] = {}
        own = [self.workspace / ".genai/runs" / record.id / "logs" for record in (self.record,) if record]
        for path in (path for logs in (*self.logs, *own) for path in logs.glob("*.log")):
            taken.setdefault(path.stem, set()).update(_TAKEN.findall(path.read_text(errors="replace")))
        found = [f"{stage}: {'; '.join(sorted(lines))}" for stage, lines in taken.items() if len(lines) > 1]
        for output in self.outputs:
            counts = Counter(_FINISHED.findall(output.read_text(errors="replace")))
            found += [f"{stage}: {count} times in {output.name}" for stage, count in counts.items() if count > 1]
        return found
