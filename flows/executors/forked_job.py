"""Start the process of a job: as a fork of a process that has loaded the code already, where that is possible.

One such server belongs to each worker's process; it is started by the first job, and takes about 100 MB. A job never
gets code that is older than that on disk: the server is replaced when one of its files has changed.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from flows.executors.fork_server import MAX_MESSAGE
from flows.process import OWN_VARIABLES, Piped, start_connected, start_piped

ROOT = Path("/")
PAUSE_S = 60.0  # after a new server that has not the code on disk
ANSWER_S = 60.0  # the server may be loading what the last job has loaded
# Ray chooses them for each task. All others must be the same, as some are read when a module is loaded.
_OF_A_TASK = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _has_handles() -> bool:
    """Whether this system has handles of processes. Kernels before Linux 5.3 and some containers have none."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


CAN_FORK = sys.platform == "linux" and _has_handles()

_lock = threading.Lock()
_server: "_Server | None" = None
_not_before = 0.0

Pipes = tuple[int, int, int]


class JobProcess(Protocol):
    """The process of one job, with pipes as standard input and output."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; -N after signal N. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None: ...

    def load(self, modules: Sequence[str]) -> None:
        """Let the next job have these modules from its beginning."""


class _Plain:
    """A process that loads the code itself."""

    def __init__(self) -> None:
        self._process: Piped = start_piped(["flows.executors.job_process"], folder=ROOT)
        self.stdin, self.stdout = self._process.stdin, self._process.stdout
        self.wait, self.kill = self._process.wait, self._process.kill

    def load(self, modules: Sequence[str]) -> None: ...


class _Forked:
    """A process that the server has forked. pipes: to its input, from its output, and for its exit status."""

    def __init__(self, process: int, pipes: Pipes, load: Callable[[Sequence[str]], None]) -> None:
        stdin, stdout, status = pipes
        try:
            self._handle: int | None = os.pidfd_open(process)
        except ProcessLookupError:  # it has ended already
            self._handle = None
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._status = os.fdopen(status, "rb")
        self._ended: int | None = None
        self.load = load

    def wait(self, timeout: float | None = None) -> int:
        if self._ended is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a job", timeout or 0.0)
            with self._status:
                text = self._status.read()
            self._ended = int(text) if text else -signal.SIGKILL  # the server was killed, and so nobody knows
            if self._handle is not None:
                os.close(self._handle)
        return self._ended

    def kill(self) -> None:
        if self._ended is None and self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)


class _Server:
    """A running fork server."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_S)
        self._environment = _lasting(os.environ)
        with theirs:
            self._process = start_connected(["flows.executors.fork_server"], theirs.fileno(), folder=ROOT)

    def has_environment(self) -> bool:
        """Whether this process's environment is still that in which the server began."""
        return self._environment == _lasting(os.environ)

    def start(self) -> _Forked | None:
        """The process of a job; None if the server cannot start it, or has older code than the disk."""
        ours, theirs = _pipes()
        try:
            message = json.dumps({"start": {**os.environ, **OWN_VARIABLES}}).encode()
            socket.send_fds(self._control, [message], theirs)
            process = json.loads(self._control.recv(MAX_MESSAGE) or b"null")
        except (OSError, ValueError):  # it died
            process = None
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        if process is not None:
            return _Forked(process, ours, self.load)
        for descriptor in ours:
            os.close(descriptor)
        return None

    def load(self, modules: Sequence[str]) -> None:
        with suppress(OSError):  # it was replaced
            self._control.send(json.dumps({"load": list(modules)}).encode())

    def close(self) -> None:
        """Let it end, after its jobs."""
        self._control.close()
        threading.Thread(target=self._process.wait, daemon=True).start()


def start_job() -> JobProcess:
    """Start the process of a job (job_process.py), which waits for its order."""
    with _lock:
        return _forked() or _Plain()


def _forked() -> _Forked | None:
    global _server, _not_before
    if not CAN_FORK:
        return None
    if _server is not None:
        job = _server.start() if _server.has_environment() else None
        if job is not None:
            return job
        _server.close()
        _server = None
    if time.monotonic() < _not_before:
        return None
    _server = _Server()
    job = _server.start()
    if job is None:  # its files have changed just now, or seem to
        _not_before = time.monotonic() + PAUSE_S
    return job


def _pipes() -> tuple[Pipes, Pipes]:
    """Our ends of a job's standard input, output and status, and those of the job."""
    (stdin, to_stdin), (from_stdout, stdout), (from_status, status) = os.pipe(), os.pipe(), os.pipe()
    return (to_stdin, from_stdout, from_status), (stdin, stdout, status)


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _OF_A_TASK}
