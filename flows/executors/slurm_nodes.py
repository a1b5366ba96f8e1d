"""A training on several nodes of Slurm: one batch job with a task on each, started by srun. So all begin at once.

The first task's events are the job's. The others read in them where they meet; their own events are files beside.
"""

import json
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.executors.job_runner import LAST_EVENTS
from flows.executors.order import Order, outcome_from
from flows.process import Processes, Stopped

EVENTS = "events"
POLL_S = 0.5


class EventFile:
    """The events that a task writes into a file, as they come."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_bytes = path, 0

    def new(self) -> list[list[Any]]:
        """The whole events since the last call."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read_bytes += len(whole) + 1
            return [json.loads(line) for line in whole.splitlines() if line.startswith(b"[")]
        return []


class OtherNodes:
    """What the coordinator hears of the tasks that are not the first."""

    def __init__(self, folder: Path, count: int) -> None:
        self._files = {rank: EventFile(events_file(folder, rank, count)) for rank in range(1, count)}
        self._count = count

    def new(self) -> list[list[Any]]:
        """Their lines and waits, with the node's number; `broken` if one cannot take part."""
        found: list[list[Any]] = []
        for rank, file in self._files.items():
            name = f"machine {rank + 1} of {self._count}"
            for kind, value in file.new():
                if kind == "line":
                    found.append(["line", f"{name}: {value}"])
                elif kind == "waits":
                    found.append(["waits", f"{value}, as {name}"])
                elif why := _why_not(kind, value):
                    found.append(["broken", f"{name}: {why}"])
        return found


def events_file(folder: Path, rank: int, count: int) -> Path:
    """Where the task of a rank writes its events."""
    return folder / (EVENTS if count == 1 else f"{EVENTS}.{rank}")


def srun_script(folder: Path, task: Path, cores: int, count: int) -> str:
    """The batch script that starts the script `task` on each node. If one is killed, all end."""
    options = [
        f"--ntasks={count}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={cores}",
        "--kill-on-bad-exit=1",
        "--wait=0",
        f"--output={folder / EVENTS}.%t",
        f"--error={folder / 'errors'}.%t",
    ]
    return f"#!/bin/sh\nexec {shlex.join(['srun', *options, '/bin/sh', str(task)])}\n"


def own_order(order: Order, folder: Path, processes: Processes) -> Order:
    """The order of this task: the first one's, or as soon as that waits for the others, that of another node.

    Raises Stopped if this is stopped, or the first one has ended, before.
    """
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    if order.node is None or rank == 0:
        return order
    first = EventFile(events_file(folder, 0, order.node.count))
    while not processes.stopping:
        for kind, value in first.new():
            if kind == "meets":
                where: Sequence[str] = value["addresses"]
                return replace(order, node=replace(order.node, rank=rank, addresses=tuple(where), port=value["port"]))
            if kind in LAST_EVENTS:
                raise Stopped("the first machine has ended")
        time.sleep(POLL_S)
    raise Stopped("stopped on request")


def _why_not(kind: str, value: Any) -> str:
    """Why a node cannot take part; empty if it did."""
    if kind == "broken":
        return str(value)
    if kind == "outcome":
        outcome = outcome_from(value)
        return "" if outcome.ran or outcome.is_lost else outcome.failure
    return ""
