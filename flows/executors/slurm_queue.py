"""Slurm's commands, and what its queue says of the jobs of a run."""

import math
import subprocess
import threading
import time
from collections.abc import Mapping

from flows.executors.engine import EngineAway

ANSWER_S = 60.0  # of Slurm's commands; a busy controller takes its time
STATES_S = 3.0  # between two questions for the states of all jobs
LIVING = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "COMPLETING",
    "STAGE_OUT",
    "RESIZING",
    "SIGNALING",
    "STOPPED",
)


def asked(*command: str, script: str | None = None) -> str:
    """The output of one of Slurm's commands. Raises EngineAway."""
    try:
        answer = subprocess.run(command, input=script, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise EngineAway(f"{command[0]} did not answer within {ANSWER_S:.0f} s") from None
    if answer.returncode != 0:
        raise EngineAway(f"{command[0]}: {' '.join(answer.stderr.split())}")
    return answer.stdout


class Queue:
    """The states of all jobs of a run, with one question for all every STATES_S."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._asked = -math.inf
        self._found: Mapping[str, tuple[str, str]] = {}

    def state(self, job: str) -> tuple[str, str] | None:
        """State and reason (or nodes) of a job; None if Slurm does not list it. Raises EngineAway."""
        return self._states().get(job)

    def living(self) -> set[str]:
        """The numbers of the jobs that have not ended. Raises EngineAway."""
        return {number for number, (state, _) in self._states().items() if state in LIVING}

    def _states(self) -> Mapping[str, tuple[str, str]]:
        with self._lock:
            if time.monotonic() - self._asked > STATES_S:
                listed = asked("squeue", "--noheader", "--states=all", f"--name={self._name}", "--format=%i|%T|%R")
                rows = [line.split("|", 2) for line in listed.splitlines()]
                self._found = {number: (state, reason) for number, state, reason in rows}
                self._asked = time.monotonic()
            return self._found
