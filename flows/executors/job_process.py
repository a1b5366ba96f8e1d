"""The process that executes one order on a machine of an engine (Ray, Dask, Slurm): events go out as lines of JSON.

    python -m flows.executors.job_process [ORDER]

ORDER is a file with the order. Without it, the order is the first line of standard input; the rest of standard input is
the lifeline then: when it ends, because whoever started this process cut it or died, the stage is stopped.

An event is a list [KIND, VALUE]: waits, started, line, progress, meets as in NodeListener; loaded (the modules that it
has loaded since it began, for fork_server.py); outcome (text of an Outcome); broken (why the order cannot be read, or
executed); stopped (no value).

A process of its own per job: an engine's worker lives for days, but this has the code that is installed
now, its own environment, and can be killed.
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from flows.executors.order import order_from
from flows.executors.slurm_nodes import own_order
from flows.executors.worked import outcome_of
from flows.process import Processes, Stopped

# Ray and Dask set these for their own tasks. A stage's threads are `compute.cpu_threads`, the same on every machine.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Events:
    """The listener of the job: writes each event as a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def waits(self, why: str) -> None:
        self.send("waits", why)

    def started(self, gpus: tuple[str, ...]) -> None:
        self.send("started", list(gpus))

    def meets(self, where: Mapping[str, Any]) -> None:
        self.send("meets", dict(where))

    def line(self, text: str) -> None:
        self.send("line", text)

    def progress(self, state: dict[str, Any]) -> None:
        self.send("progress", state)

    def send(self, kind: str, value: Any = None) -> None:
        with self._lock:  # lines come from the command, and from the thread that sends checkpoints
            self._out.write(f"{json.dumps([kind, value])}\n")
            self._out.flush()


def main() -> None:
    for name in THREADS:
        os.environ.pop(name, None)
    events, loaded = Events(_own_output()), set(sys.modules)
    processes = Processes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processes.stop())
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_text()
    else:
        text = sys.stdin.readline()
        threading.Thread(target=_stop_at_end_of_input, args=(processes,), daemon=True).start()
    try:
        order = order_from(text)
    except ValueError as error:
        events.send("broken", str(error))
        return
    try:
        if len(sys.argv) > 1:
            order = own_order(order, Path(sys.argv[1]).parent, processes)
        outcome = outcome_of(order, events, processes)
        if new := [name for name in sys.modules if name not in loaded]:
            events.send("loaded", new)
        events.send("outcome", outcome.text())
    except Stopped:
        events.send("stopped")
    except Exception as error:  # a full disk, for example; the rest is in the worker's log
        events.send("broken", f"on {socket.gethostname()}: {type(error).__name__}: {error}")
        raise


def _own_output() -> TextIO:
    """Standard output, for events alone: what a library prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def _stop_at_end_of_input(processes: Processes) -> None:
    while os.read(0, 4096):  # not sys.stdin: Python cannot end while a thread reads from it
        pass
    processes.stop()


if __name__ == "__main__":
    main()
