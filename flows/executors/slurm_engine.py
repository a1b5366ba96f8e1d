"""Slurm as an engine: an order is a batch job of its own, with the cores, memory and GPUs that the stage needs.

The order, and the events that come back, are files below `.genai/runs/ID/slurm`, which the nodes must see, as they must
see this Python. Nothing listens on a port. Only sbatch, squeue, sinfo and scancel are asked, so a cluster needs no
accounting.
`meta: place` is a feature of a node (`--constraint`).
"""

import math
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.executors.attempts import Lost
from flows.executors.engine import EngineAway
from flows.executors.executor import JobFailed
from flows.executors.locality import Near
from flows.executors.order import Order, order_from
from flows.executors.shares import Offer, Share
from flows.executors.slurm_nodes import EVENTS, EventFile, OtherNodes, events_file, srun_script
from flows.executors.slurm_queue import LIVING, Queue, asked
from flows.runs.job import Job, key_of
from flows.whole_file import write_file
from genai_core.config import ConfigError, SlurmConfig

KNOWN_S = 60.0  # from its submission, in which a job may be missing from the list
LAST_NEWS_S = 30.0  # of a job that has ended: a network disk may show its last lines late
SAVE_S = 60  # before the end of an allocation, in which a training saves
ORDER, TASK, ERRORS, NUMBER = "order.json", "task", "errors", "number"
_UNUSABLE = ("down", "drain", "fail")
# A home of each node, because a lock on a network disk may not hold between two of them.
# Slurm has leased the GPUs. Where it hides the others, each job on a node sees its own first one as number 0.
_SCRIPT = """#!/bin/sh
export GENAI_OWN_GPUS=1
export GENAI_WORKER_HOME="${{GENAI_WORKER_HOME:-$HOME/.cache/genai-worker}}/$SLURMD_NODENAME"
exec {python} -m flows.executors.job_process {order}
"""


class SlurmAttempt:
    """See Attempt. job: its number. files: its order, its events and its errors. nodes: how many it has."""

    def __init__(self, queue: Queue, job: str, files: Path, nodes: int = 1) -> None:
        self._queue, self._job, self._files = queue, job, files
        self._events, self._others = EventFile(events_file(files, 0, nodes)), OtherNodes(files, nodes)
        self._reason = ""
        self._has_begun = self._was_stopped = False
        self._submitted = time.monotonic()
        self._ended: float | None = None

    def news(self, timeout_s: float) -> Sequence[Sequence[Any]]:
        if events := self._new_events():
            return events
        if said := self._others.new():
            if any(kind == "broken" for kind, _ in said):  # the first one waits in vain
                self.cancel()
            return said
        state, reason = self._state()
        if state not in LIVING:
            self._ended = self._ended or time.monotonic()
            if self._was_stopped or time.monotonic() - self._ended > LAST_NEWS_S:
                self._raise_end(state)
            time.sleep(timeout_s)
            return []
        self._ended = None  # a restarted controller may not have known it for a while
        if state == "PENDING" and reason not in ("", "(None)", self._reason):
            self._reason = reason
            return [["waits", f"in Slurm's queue as job {self._job}: {reason.strip('()')}"]]
        time.sleep(timeout_s)
        return []

    def cancel(self) -> None:
        with suppress(EngineAway):
            asked("scancel", self._job)

    def _new_events(self) -> list[list[Any]]:
        """The events since the last call, without `stopped`: the state of the job says why it was."""
        events = self._events.new()
        self._has_begun = self._has_begun or bool(events)
        self._was_stopped = self._was_stopped or ["stopped", None] in events
        return [event for event in events if event[0] != "stopped"]

    def _state(self) -> tuple[str, str]:
        try:
            found = self._queue.state(self._job)
        except EngineAway:  # the controller is restarted; the job goes on
            return "RUNNING", ""
        if found is None:
            return ("PENDING" if time.monotonic() - self._submitted < KNOWN_S else "UNKNOWN"), ""
        return found

    def _raise_end(self, state: str) -> None:
        """Raise Lost or JobFailed for a job that has ended without an outcome."""
        if state == "CANCELLED":
            raise JobFailed(f"its Slurm job {self._job} was cancelled", retryable=False)
        if state == "TIMEOUT" or (self._was_stopped and state == "COMPLETED"):
            raise Lost(f"the time limit of its Slurm job {self._job} was reached")
        if state in ("FAILED", "COMPLETED") and not self._has_begun:
            raise JobFailed(f"its Slurm job {self._job} could not begin: {self._last_error()}")
        raise Lost(f"its Slurm job {self._job} ended as {state}")

    def _last_error(self) -> str:
        for name in (f"{ERRORS}.0", ERRORS):
            with suppress(OSError):
                if said := (self._files / name).read_text(errors="replace").strip():
                    return said.rpartition("\n")[2]
        return "no word of it; do the nodes see this folder, and this Python?"


class SlurmEngine:
    """See Engine. name: of all jobs of the run. folder: for their files."""

    places_all_nodes = True
    start_worker = "sinfo lists the nodes of the partition."

    def __init__(self, config: SlurmConfig, name: str, folder: Path) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._queue = Queue(name)

    def offers(self) -> Sequence[Offer]:
        where = ["--partition", self._config.partition] if self._config.partition else []
        listed = asked("sinfo", "--noheader", "--Node", "--format=%N|%c|%m|%G|%f|%T", *where)
        rows = {
            line.split("|")[0]: line.split("|") for line in listed.splitlines()
        }  # a node of several partitions once
        return [_offer(*row) for row in rows.values() if not row[5].startswith(_UNUSABLE)]

    def submit(self, order: Order, share: Share, near: Sequence[Near] = ()) -> SlurmAttempt:  # noqa: ARG002
        """See Engine. Slurm chooses the node: its own preference (`--prefer`) is for features that an administrator
        has given to nodes."""
        files = self._folder / secrets.token_hex(8)  # not the stage's name: Slurm expands % in the names of files
        files.mkdir(parents=True, mode=0o700)  # an order has the secret of its training
        (files / ORDER).write_text(order.text())
        script = _SCRIPT.format(python=shlex.quote(sys.executable), order=shlex.quote(str(files / ORDER)))
        nodes = _nodes(order)
        if nodes > 1:
            (files / TASK).write_text(script)
            script = srun_script(files, files / TASK, share.cores, nodes)
        try:
            job = asked("sbatch", *self._options(order.job, share, files, nodes), script=script)
        except EngineAway as error:
            raise JobFailed(str(error)) from None
        number = job.strip().partition(";")[0]
        write_file(files / NUMBER, number)
        return SlurmAttempt(self._queue, number, files, nodes)

    def left(self) -> dict[str, tuple[Order, SlurmAttempt]]:
        """See Engine.left. Jobs of the run that are not known here are cancelled: nobody hears of them.

        A coordinator in another checkout has submitted them, or one that died before it knew their number.
        Raises ConfigError.
        """
        try:
            living = self._queue.living()
        except EngineAway as error:
            raise ConfigError(f"Slurm does not answer: {error}") from None
        found: dict[str, tuple[Order, SlurmAttempt]] = {}
        for file in self._folder.glob(f"*/{NUMBER}"):
            number = file.read_text()
            with suppress(ValueError, OSError):  # of another version of this code
                order = order_from((file.parent / ORDER).read_text())
                if number in living:
                    living.remove(number)
                    attempt = SlurmAttempt(self._queue, number, file.parent, _nodes(order))
                    found[key_of(order.job)] = order, attempt
        for number in sorted(living):
            SlurmAttempt(self._queue, number, self._folder).cancel()
        return found

    def _options(self, job: Job, share: Share, files: Path, nodes: int) -> list[str]:
        config = self._config
        minutes, gpus = config.time_limit_minutes, math.ceil(share.gpus)
        return [
            "--parsable",
            f"--job-name={self._name}",
            f"--comment={job.stage}, attempt {job.attempt}",
            f"--nodes={nodes}",
            "--ntasks-per-node=1",
            f"--cpus-per-task={share.cores}",
            *([f"--mem={math.ceil(share.memory_gb * 1024)}M"] if share.memory_gb else []),
            *([f"--gres=gpu:{gpus}"] if gpus else []),
            *([f"--constraint={share.place}"] if share.place else []),
            *([f"--partition={config.partition}"] if config.partition else []),
            *([f"--account={config.account}"] if config.account else []),
            *([f"--time={minutes}"] if minutes else []),
            f"--signal={'B:' if nodes == 1 else ''}TERM@{SAVE_S}",  # the script is the job, or srun's tasks are
            "--no-requeue",  # a repeated order is another attempt, with another number
            "--chdir=/",
            f"--output={files / EVENTS}",
            f"--error={files / ERRORS}",
        ]


def _nodes(order: Order) -> int:
    return order.node.count if order.node else 1


def _offer(name: str, cores: str, memory_mb: str, gres: str, features: str, _state: str) -> Offer:
    gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres))
    places = frozenset(feature for feature in features.split(",") if feature != "(null)")
    return Offer(name, int(cores), int(memory_mb) / 1024, gpus, places)


@contextmanager
def open_slurm(run: str, config: SlurmConfig, folder: Path) -> Iterator[SlurmEngine]:
    """The engine of one run. folder: for its files, on a disk that the nodes see. Raises ConfigError without Slurm."""
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "executor slurm needs Slurm's commands (sbatch, squeue, sinfo, scancel) on this machine; run it on a login "
            "node of the cluster"
        )
    engine = SlurmEngine(config, f"genai-{run}", folder)
    try:
        offers = engine.offers()
    except EngineAway as error:
        raise ConfigError(f"Slurm does not answer: {error}") from None
    if not offers:
        raise ConfigError(f"params.yaml: compute.slurm.partition: {config.partition}: sinfo lists no usable node in it")
    try:
        yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)
