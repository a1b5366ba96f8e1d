"""Runs on a worker of Ray or Dask: starts the process of a job and passes on its events."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from flows.executors.forked_job import JobProcess, start_job
from flows.executors.machine import this_machine
from flows.process import DEFAULT_GRACE_S

BATCH_S = 0.5
LAST_EVENTS = ("outcome", "broken", "stopped")  # kinds: with one of them, a process says that it ends
LOADED = "loaded"
# To interrupt the command and save, to send the last checkpoint, and to remove the place.
END_S = DEFAULT_GRACE_S + 20.0


def run_order(order: str, is_cancelled: Callable[[], bool]) -> Iterator[str]:
    """Execute an order (its text), and yield its events: a JSON list of them now and then, the outcome last.

    is_cancelled: asked twice a second. If the process dies without a last word, the last event is `lost` or `broken`.
    If this generator is closed or its worker dies, the process ends its stage by itself.
    """
    process = start_job()
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    ended = False
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died; its status says how
            process.stdin.write(order.encode() + b"\n")
            process.stdin.flush()
        while not ended and not is_cancelled():
            events, ended = _batch(lines)
            for _, modules in [event for event in events if event[0] == LOADED]:
                process.load(modules)
            events = [event for event in events if event[0] != LOADED]
            has_last = any(kind in LAST_EVENTS for kind, _ in events)
            if ended and not has_last:
                events.append(_end(process.wait()))
            ended = ended or has_last  # nobody waits for the end of the process
            if events:
                yield json.dumps(events)
    finally:
        _end_process(process)


def placed(worker: str) -> str:
    """The first events of a job: where it is. worker: the engine's name of this worker."""
    here = this_machine()
    return json.dumps([["placed", {"worker": worker, "host": here.host, "home": here.home}]])


def _read(process: JobProcess, lines: "queue.SimpleQueue[bytes | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _batch(lines: "queue.SimpleQueue[bytes | None]") -> tuple[list[list[Any]], bool]:
    """The events of the next half second, and whether there will be no more."""
    events: list[list[Any]] = []
    deadline = time.monotonic() + BATCH_S
    while (left := deadline - time.monotonic()) > 0.0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if line is None:
            return events, True
        events.append(json.loads(line))
        if events[-1][0] in LAST_EVENTS:
            break
    return events, False


def _end(status: int) -> list[Any]:
    if status < 0:
        return ["lost", f"its process was ended by signal {-status}"]
    return ["broken", f"its process ended with status {status}; the worker's log says why"]


def _end_process(process: JobProcess) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
