"""The one place that starts a long process: supervised, its lines streamed, its family ended on request."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SUPERVISOR = Path(__file__).with_name("supervisor.py")

# Services that this process started: Python complains of one that is forgotten while it runs.
_services: "list[subprocess.Popen[bytes]]" = []

# Time for a training stage to write a checkpoint of some hundred MB after it was asked to stop.
DEFAULT_GRACE_S = 10.0


class Stopped(Exception):
    """The process was ended on request: by Ctrl-C, SIGTERM or a cancelled run."""


class TimedOut(Exception):
    """The process ran longer than it may and was ended."""


class Processes:
    """The processes of one run: `stop` ends those that run and keeps new ones from starting.

    keep_open: descriptors that each supervisor holds until its command and all descendants have ended.
    """

    def __init__(self, grace_s: float = DEFAULT_GRACE_S, keep_open: Sequence[int] = ()) -> None:
        self._grace_s = grace_s
        self._keep_open = tuple(keep_open)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """End every process and its descendants: an interrupt, then a kill. Returns at once, signal-safe."""
        self._stopping.set()
        for process in tuple(self._running):
            _cut_lifeline(process)

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        timeout_s: float | None,
        on_line: Callable[[str], None],
        keep_open: Sequence[int] = (),
    ) -> int:
        """Run `command` in `folder` to its end, hand each line of its output on as it comes, return its exit status.

        keep_open: descriptors that its supervisor holds besides. Raises Stopped when `stop` ended it (or forbade it),
        TimedOut after `timeout_s`.
        """
        process = self._start(command, folder, environment, keep_open)
        threading.Thread(target=_end_what_it_left, args=(process,), daemon=True).start()
        expired = threading.Event()
        timer = threading.Timer(timeout_s, _expire, (expired, process)) if timeout_s else None
        try:
            if timer:
                timer.daemon = True
                timer.start()
            assert process.stdout is not None
            for line in process.stdout:  # bytes: as text, a carriage return would end a line, and a bar be many lines
                on_line(line.decode(errors="replace").rstrip("\n"))
            status = process.wait()
        except BaseException:
            _cut_lifeline(process)
            process.wait()
            raise
        finally:
            if timer:
                timer.cancel()
            self._running.discard(process)
            _cut_lifeline(process)
            assert process.stdout is not None
            process.stdout.close()
        if expired.is_set():
            raise TimedOut(f"ended after {timeout_s:g} s, the time it may take (meta: timeout_s)")
        if self.stopping and status != 0:
            raise Stopped("ended on request")
        return status

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait for every process to end; True when all have."""
        deadline = time.monotonic() + timeout_s
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._running

    def _start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], keep_open: Sequence[int]
    ) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.stopping:
                raise Stopped("not started: the run is being stopped")
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(self._grace_s), *command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(*self._keep_open, *keep_open),
            )
            self._running.add(process)
        if self.stopping:  # asked for between the check and the start, by a signal handler that cannot take the lock
            _cut_lifeline(process)
        return process


def _end_what_it_left(supervisor: "subprocess.Popen[bytes]") -> None:
    """When a supervisor was itself killed, nobody but us ends its command, which is in its session."""
    if supervisor.wait() >= 0:
        return
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == supervisor.pid:
                process.kill()


def _expire(expired: threading.Event, process: "subprocess.Popen[bytes]") -> None:
    expired.set()
    _cut_lifeline(process)


def _cut_lifeline(process: "subprocess.Popen[bytes]") -> None:
    """Close the supervisor's standard input, which it takes as the order to stop."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


def run_command(
    command: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> int:
    """Run one command as Processes.run does, in this environment and `environment`; it ends when we are interrupted."""
    return Processes().run(
        command, folder=folder, environment={**os.environ, **(environment or {})}, timeout_s=timeout_s, on_line=on_line
    )


def run_module(
    arguments: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run `python -m ARGUMENTS` with run_command: unbuffered, without writing bytecode, without DVC's analytics."""
    own = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "DVC_NO_ANALYTICS": "1", **(environment or {})}
    return run_command([sys.executable, "-m", *arguments], folder=folder, on_line=on_line, environment=own)


def start_keeper(script: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a small script that outlives this process for as long as it takes to tidy up after it.

    It learns of our end by that of its standard input, and is in a session of its own, out of reach of a Ctrl-C.
    """
    command = [sys.executable, "-I", "-S", str(script), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is gone afterwards, also when we are killed: a shell out of reach of that removes it."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        command = ["sh", "-c", 'cat; rm -rf -- "$0"', name]  # its input ends when the body does, or we do
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True):
            yield Path(name)


def start_service(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> int:
    """Start a process that outlives this one, in a session of its own, its output added to `log`; its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _services.append(process)
    return process.pid
