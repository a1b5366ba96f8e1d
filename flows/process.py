"""The only place that starts long processes: supervised, with streamed output, ended with their descendants."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

Piped = subprocess.Popen[bytes]

SUPERVISOR = Path(__file__).with_name("supervisor.py")

# Keeps the services that this process started: Python warns if a running Popen is garbage-collected.
_services: "list[subprocess.Popen[bytes]]" = []

# Enough for a training to write a checkpoint of some hundred MB after a request to stop.
DEFAULT_GRACE_S = 10.0

# Of each Python process that is started for a while: no bytecode beside code that may be tracked, no reports to DVC.
OWN_VARIABLES = {"PYTHONDONTWRITEBYTECODE": "1", "DVC_NO_ANALYTICS": "1"}


class Stopped(Exception):
    """The process was stopped on request: by Ctrl-C, SIGTERM or a cancelled run."""


class TimedOut(Exception):
    """The process exceeded its time limit and was stopped."""


class Processes:
    """The processes of one run. `stop` ends the running ones and prevents new ones.

    keep_open: file descriptors that each supervisor holds until its command and all descendants have ended.
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
        """Stop every process and its descendants: interrupt, then kill. Returns at once; signal-safe."""
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
        """Run `command` in `folder`, pass each line of its output to `on_line`, and return its exit status.

        keep_open: additional descriptors that its supervisor holds. Raises Stopped if `stop` ended or prevented it,
        TimedOut after `timeout_s`.
        """
        process = self._start(command, folder, environment, keep_open)
        threading.Thread(target=_kill_orphans, args=(process,), daemon=True).start()
        expired = threading.Event()
        timer = threading.Timer(timeout_s, _expire, (expired, process)) if timeout_s else None
        try:
            if timer:
                timer.daemon = True
                timer.start()
            assert process.stdout is not None
            for line in process.stdout:  # bytes: in text mode, each carriage return of a progress bar would end a line
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
            raise TimedOut(f"stopped after {timeout_s:g} s, its time limit (meta: timeout_s in dvc.yaml)")
        if self.stopping and status != 0:
            raise Stopped("stopped on request")
        return status

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait for every process to end. Return whether all have."""
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
        if self.stopping:  # requested between check and start, by a signal handler, which cannot take the lock
            _cut_lifeline(process)
        return process


def _kill_orphans(supervisor: "subprocess.Popen[bytes]") -> None:
    """If the supervisor itself is killed, kill its command, which is in its session."""
    if supervisor.wait() >= 0:
        return
    assert supervisor.stdout is not None
    # Again and again while somebody holds the output, because `run` waits for its end: a process that starts while the
    # list of processes is read is not in it.
    while True:
        ended = supervisor.stdout.closed
        for group in _groups(supervisor.pid):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)  # at once, so that none of the group can start another meanwhile
        if ended:
            return
        time.sleep(0.02)


def _groups(session: int) -> set[int]:
    """The process groups of a session."""
    found = set()
    for number in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getsid(number) == session:
                found.add(os.getpgid(number))
    return found


def _expire(expired: threading.Event, process: "subprocess.Popen[bytes]") -> None:
    expired.set()
    _cut_lifeline(process)


def _cut_lifeline(process: "subprocess.Popen[bytes]") -> None:
    """Close the supervisor's standard input, which makes it stop its command."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


def run_command(
    command: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    processes: Processes | None = None,
) -> int:
    """Run one command like Processes.run, with this environment plus `environment`. Ends when we are interrupted.

    processes: those that end together with it; None: it alone.
    """
    return (processes or Processes()).run(
        command, folder=folder, environment={**os.environ, **(environment or {})}, timeout_s=timeout_s, on_line=on_line
    )


def run_module(
    arguments: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    processes: Processes | None = None,
) -> int:
    """Run `python -m ARGUMENTS` with run_command: unbuffered, without writing bytecode, without DVC's analytics."""
    own = {"PYTHONUNBUFFERED": "1", **OWN_VARIABLES, **(environment or {})}
    command = [sys.executable, "-m", *arguments]
    return run_command(command, folder=folder, on_line=on_line, environment=own, processes=processes)


def start_piped(arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> Piped:
    """Start `python -m ARGUMENTS` with pipes as standard input and output; standard error is ours.

    environment: variables beside those of this process.

    It has its own session, so Ctrl-C does not reach it. Its end is the end of its standard input: the kernel closes
    the pipe even if this process is killed.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, **OWN_VARIABLES, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def start_connected(arguments: Sequence[str], descriptor: int, *, folder: Path) -> "subprocess.Popen[bytes]":
    """Start `python -m ARGUMENTS DESCRIPTOR` with that open socket, whose end is the end of the process.

    It has its own session, so Ctrl-C does not reach it. Standard output and error are our standard error.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *arguments, str(descriptor)],
        cwd=folder,
        env={**os.environ, **OWN_VARIABLES},
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=(descriptor,),
        start_new_session=True,
    )


def start_keeper(script: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a small script that outlives this process, to clean up after it.

    The end of its standard input signals our end. It has its own session, so Ctrl-C does not reach it.
    """
    command = [sys.executable, "-I", "-S", str(script), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@contextmanager
def scratch_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder, removed at the end. If we are killed, a shell in another session removes it.

    parent: None: where the system has temporary files.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        # Its input ends with the body or with this process. A task in the folder may write for a moment longer.
        command = ["sh", "-c", f'cat; rm -rf -- "$0" || {{ sleep {DEFAULT_GRACE_S + 1:.0f}; rm -rf -- "$0"; }}', name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True):
            yield Path(name)


def start_service(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> int:
    """Start a process that outlives this one, in its own session, with its output appended to `log`. Return its id."""
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
