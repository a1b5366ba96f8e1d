"""The processes that `genai up` started, kept in .genai/services.json by id and start time.

An id alone may long be another process's.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from flows.services.deployment_file import ServicesError

STATE = Path(".genai/services.json")
STOP_TIMEOUT_S = 20.0
LOCK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Service:
    """A process that was started, by what tells it from a later one with the same id."""

    name: str
    pid: int
    started: float  # seconds since the epoch, by the kernel

    def process(self) -> psutil.Process | None:
        """The process while it lives."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True)
class State:
    """What `up` started: the API's address, the server first, then its workers."""

    url: str
    services: tuple[Service, ...]

    def living(self) -> tuple[Service, ...]:
        return tuple(service for service in self.services if service.process())


def read_state(workspace: Path) -> State | None:
    """What was written by the last `up`; None when there is nothing, or nothing that can be read."""
    try:
        values = json.loads((workspace / STATE).read_text())
        return State(str(values["url"]), tuple(Service(**entry) for entry in values["services"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_state(workspace: Path, state: State) -> None:
    path = workspace / STATE
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(state), indent=2))
    os.replace(new, path)


@contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Within it no other `genai up` or `genai down` works in this checkout. Raises ServicesError when one does."""
    path = workspace / STATE
    path.parent.mkdir(exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout:
        raise ServicesError("another `genai up` or `genai down` is at work in this checkout; wait for it") from None


def end(service: Service) -> None:
    """Ask a service to end, give it time for what it runs, then end it with all its descendants."""
    process = service.process()
    if process is None:
        return
    family = [process]
    with suppress(psutil.Error):
        family += process.children(recursive=True)
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
    for member in alive:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(alive, timeout=5.0)
