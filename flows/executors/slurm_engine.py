"""Slurm as an engine: an order is a batch job of its own, with the cores, memory and GPUs that the stage needs.

The order, and the events that come back, are files below `.genai/runs/ID/slurm`, which the nodes must see, as they must
see this Python. Nothing listens on a port. Only sbatch, squeue, sinfo and scancel are asked, so a cluster needs no
accounting.
`meta: place` is a feature of a node (`--constraint`).
"""

import json
import math
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.executors.attempts import Lost
from flows.executors.engine import EngineAway
from flows.executors.executor import CommandFailed
from flows.executors.order import Order
from flows.executors.shares import Offer, Share
from flows.runs.job import Job
from genai_core.config import ConfigError, SlurmConfig

ANSWER_S = 60.0  # of Slurm's commands; a busy controller takes its time
STATES_S = 3.0  # between two questions for the states of all jobs
KNOWN_S = 60.0  # from its submission, in which a job may be missing from the list
LAST_NEWS_S = 30.0  # of a job that has ended: a network disk may show its last lines late
SAVE_S = 60  # before the end of an allocation, in which a training saves
ORDER, EVENTS, ERRORS = "order.json", "events", "errors"
_LIVING = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "STAGE_OUT", "RESIZING")
_UNUSABLE = ("down", "drain", "fail")
# A home of each node, because a lock on a network disk may not hold between two of them.
_SCRIPT = """#!/bin/sh
export GENAI_WORKER_HOME="${{GENAI_WORKER_HOME:-$HOME/.cache/genai-worker}}/$SLURMD_NODENAME"
exec {python} -m flows.executors.job_process {order}
"""


def _asked(*command: str, script: str | None = None) -> str:
    """The output of one of Slurm's commands. Raises EngineAway."""
    try:
        answer = subprocess.run(command, input=script, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise EngineAway(f"{command[0]} did not answer within {ANSWER_S:.0f} s") from None
    if answer.returncode != 0:
        raise EngineAway(f"{command[0]}: {' '.join(answer.stderr.split())}")
    return answer.stdout


class _Jobs:
    """The states of all jobs of a run, with one question for all every STATES_S."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._asked = -math.inf
        self._found: Mapping[str, tuple[str, str]] = {}

    def state(self, job: str) -> tuple[str, str] | None:
        """State and reason (or nodes) of a job; None if Slurm does not list it. Raises EngineAway."""
        with self._lock:
            if time.monotonic() - self._asked > STATES_S:
                listed = _asked("squeue", "--noheader", "--states=all", f"--name={self._name}", "--format=%i|%T|%R")
                rows = [line.split("|", 2) for line in listed.splitlines()]
                self._found = {number: (state, reason) for number, state, reason in rows}
                self._asked = time.monotonic()
            return self._found.get(job)


class SlurmAttempt:
    """See Attempt. job: its number. files: its order, its events and its errors."""

    def __init__(self, jobs: _Jobs, job: str, files: Path) -> None:
        self._jobs, self._job, self._files = jobs, job, files
        self._read_bytes = 0
        self._reason = ""
        self._has_begun = self._was_stopped = False
        self._submitted = time.monotonic()
        self._ended: float | None = None

    def news(self, timeout_s: float) -> Sequence[Sequence[Any]]:
        if events := self._new_events():
            return events
        state, reason = self._state()
        if state not in _LIVING:
            self._ended = self._ended or time.monotonic()
            if self._was_stopped or time.monotonic() - self._ended > LAST_NEWS_S:
                self._raise_end(state)
        elif state == "PENDING" and reason not in ("", "(None)", self._reason):
            self._reason = reason
            return [["waits", f"in Slurm's queue as job {self._job}: {reason.strip('()')}"]]
        time.sleep(timeout_s)
        return []

    def cancel(self) -> None:
        with suppress(EngineAway):
            _asked("scancel", self._job)

    def _new_events(self) -> list[list[Any]]:
        """The events since the last call, without `stopped`: the state of the job says why it was."""
        with suppress(FileNotFoundError), (self._files / EVENTS).open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read_bytes += len(whole) + 1
            events: list[list[Any]] = [json.loads(line) for line in whole.splitlines() if line.startswith(b"[")]
            self._has_begun = self._has_begun or bool(events)
            self._was_stopped = self._was_stopped or ["stopped", None] in events
            return [event for event in events if event[0] != "stopped"]
        return []

    def _state(self) -> tuple[str, str]:
        try:
            found = self._jobs.state(self._job)
        except EngineAway:  # the controller is restarted; the job goes on
            return "RUNNING", ""
        if found is None:
            return ("PENDING" if time.monotonic() - self._submitted < KNOWN_S else "UNKNOWN"), ""
        return found

    def _raise_end(self, state: str) -> None:
        """Raise Lost or CommandFailed for a job that has ended without an outcome."""
        if state == "CANCELLED":
            raise CommandFailed(f"its Slurm job {self._job} was cancelled", retryable=False)
        if state == "TIMEOUT" or (self._was_stopped and state == "COMPLETED"):
            raise Lost(f"the time limit of its Slurm job {self._job} was reached")
        if state in ("FAILED", "COMPLETED") and not self._has_begun:
            raise CommandFailed(f"its Slurm job {self._job} could not begin: {self._last_error()}")
        raise Lost(f"its Slurm job {self._job} ended as {state}")

    def _last_error(self) -> str:
        with suppress(OSError):
            return (self._files / ERRORS).read_text(errors="replace").strip().rpartition("\n")[2]
        return "no word of it; do the nodes see this folder, and this Python?"


class SlurmEngine:
    """See Engine. name: of all jobs of the run. folder: for their files."""

    start_worker = "sinfo lists the nodes of the partition."

    def __init__(self, config: SlurmConfig, name: str, folder: Path) -> None:
        self._config, self._name, self._folder = config, name, folder
        self._jobs = _Jobs(name)

    def offers(self) -> Sequence[Offer]:
        where = ["--partition", self._config.partition] if self._config.partition else []
        listed = _asked("sinfo", "--noheader", "--Node", "--format=%N|%c|%m|%G|%f|%T", *where)
        rows = {
            line.split("|")[0]: line.split("|") for line in listed.splitlines()
        }  # a node of several partitions once
        return [_offer(*row) for row in rows.values() if not row[5].startswith(_UNUSABLE)]

    def submit(self, order: Order, share: Share) -> SlurmAttempt:
        files = self._folder / secrets.token_hex(8)  # not the stage's name: Slurm expands % in the names of files
        files.mkdir(parents=True)
        (files / ORDER).write_text(order.text())
        script = _SCRIPT.format(python=shlex.quote(sys.executable), order=shlex.quote(str(files / ORDER)))
        try:
            job = _asked("sbatch", *self._options(order.job, share, files), script=script).strip().partition(";")[0]
        except EngineAway as error:
            raise CommandFailed(str(error)) from None
        return SlurmAttempt(self._jobs, job, files)

    def _options(self, job: Job, share: Share, files: Path) -> list[str]:
        config = self._config
        minutes, gpus = config.time_limit_minutes, math.ceil(share.gpus)
        return [
            "--parsable",
            f"--job-name={self._name}",
            f"--comment={job.stage}, attempt {job.attempt}",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={share.cores}",
            *([f"--mem={math.ceil(share.memory_gb * 1024)}M"] if share.memory_gb else []),
            *([f"--gres=gpu:{gpus}"] if gpus else []),
            *([f"--constraint={share.place}"] if share.place else []),
            *([f"--partition={config.partition}"] if config.partition else []),
            *([f"--account={config.account}"] if config.account else []),
            *([f"--time={minutes}"] if minutes else []),
            f"--signal=B:TERM@{SAVE_S}",
            "--no-requeue",  # a repeated order is another attempt, with another number
            "--chdir=/",
            f"--output={files / EVENTS}",
            f"--error={files / ERRORS}",
        ]


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
