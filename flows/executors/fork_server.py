"""A process that has loaded the code of a job, and forks one per job: the job begins at once, with the code on disk.

    python -m flows.executors.fork_server DESCRIPTOR

DESCRIPTOR is one end of a pair of sockets; forked_job.py has the other one. Messages are JSON texts:

    {"start": ENVIRONMENT} and three descriptors: standard input and output of the job, and one for its exit status
        the answer is the id of the process; null if the code here is not that on disk, so that another server is needed
    {"load": MODULES} what the last job has loaded besides: the next one has it, too. No answer

It ends when the other end is closed. The jobs end by themselves then, because their standard inputs do.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MAX_MESSAGE = 2**20
DESCRIPTORS = 3
MARGIN_NS = 2 * 10**9  # a file that changed so shortly before may have been read before that

Stamp = tuple[int, int, int, int]


class LoadedCode:
    """The files of the loaded modules, as they were when they were loaded."""

    def __init__(self) -> None:
        self._began_ns = time.time_ns()
        self._stamps: dict[str, Stamp | None] = {}
        self._is_certain = True

    def note(self) -> None:
        """Note the modules that were loaded since the last time."""
        for module in tuple(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if path and path not in self._stamps:
                self._stamps[path] = stamp = _stamp(path)
                # ctime: pip and git may give a new file an old mtime.
                self._is_certain &= stamp is not None and stamp[0] < self._began_ns - MARGIN_NS
        self._began_ns = time.time_ns()

    def is_on_disk(self) -> bool:
        return self._is_certain and all(_stamp(path) == stamp for path, stamp in self._stamps.items())


class ForkServer:
    """The jobs of one server. control: our end of the pair."""

    def __init__(self, control: socket.socket, code: LoadedCode) -> None:
        self._control, self._code = control, code
        self._statuses: dict[int, int] = {}  # by process: where to tell its exit status

    def serve(self) -> None:
        """Return when the other end is closed and all jobs have ended."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        sources: list[socket.socket | int] = [woken, self._control]
        while len(sources) > 1 or self._statuses:
            ready, _, _ = select.select(sources, [], [])
            if woken in ready:
                with suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._tell_ends()
            if self._control in ready and not self._answer():
                sources.remove(self._control)

    def _answer(self) -> bool:
        """Do what a message says. False if there will be no more."""
        try:
            text, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, DESCRIPTORS)
        except ConnectionError:  # it died before it read the last answer
            return False
        if not text:
            return False
        message = json.loads(text)
        if "load" in message:
            self._load(message["load"])
            return True
        # A thread of a library may hold a lock that nobody would release in the child.
        can_fork = threading.active_count() == 1 and self._code.is_on_disk()
        child = self._fork(message["start"], descriptors) if can_fork else None
        for descriptor in descriptors[: None if child is None else -1]:
            os.close(descriptor)
        with suppress(ConnectionError):  # it is gone: the job sees that, and ends
            self._control.send(json.dumps(child).encode())
        return True

    def _load(self, modules: Sequence[str]) -> None:
        for name in modules:
            with suppress(Exception):  # one that only its package can load
                importlib.import_module(name)
        self._code.note()
        gc.freeze()  # so that no collection in a child copies the memory of what is loaded

    def _fork(self, environment: Mapping[str, str], descriptors: Sequence[int]) -> int:
        """Fork the process of a job; it does not return from here."""
        child = os.fork()
        if child:
            self._statuses[child] = descriptors[-1]
            return child
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.dup2(descriptors[0], 0)
            os.dup2(descriptors[1], 1)
            self._control.close()
            for descriptor in (*descriptors, *self._statuses.values()):
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(environment)
            del sys.argv[1:]
            status = _run_job()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _tell_ends(self) -> None:
        for child in tuple(self._statuses):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                # The pipe breaks when the file is closed: nobody waits for this job.
                with suppress(BrokenPipeError), os.fdopen(self._statuses.pop(child), "w") as file:
                    file.write(str(os.waitstatus_to_exitcode(status)))


def _run_job() -> int:
    import traceback

    from flows.executors.job_process import main

    try:
        main()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _stamp(path: str) -> Stamp | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino


def main() -> None:
    code = LoadedCode()
    importlib.import_module("flows.executors.job_process")
    importlib.import_module("dvc.repo")
    code.note()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        ForkServer(control, code).serve()


if __name__ == "__main__":
    main()
