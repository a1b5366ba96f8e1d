"""The processes that `genai up` started, by id and start time, in .genai/services.json.

The id alone is not enough: the kernel reuses it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from flows.services.deployment_file import ServicesError
from flows.whole_file import write_json

STATE = Path(".genai/services.json")
STOP_TIMEOUT_S = 20.0
LOCK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Service:
    """A started process. Its start time distinguishes it from a later process with the same id."""

    name: str
    pid: int
    started: float  # seconds since the epoch, by the kernel

    def process(self) -> psutil.Process | None:
        """The process; None if it has ended."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True)
class State:
    """The API's address and the services that `up` started: the server, then its workers."""

    url: str
    services: tuple[Service, ...]

    def living(self) -> tuple[Service, ...]:
        return tuple(service for service in self.services if service.process())


def read_state(workspace: Path) -> State | None:
    """The state that the last `up` wrote; None if there is none or it cannot be read."""
    try:
        values = json.loads((workspace / STATE).read_text())
        return State(str(values["url"]), tuple(Service(**entry) for entry in values["services"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_state(workspace: Path, state: State) -> None:
    write_json(workspace / STATE, asdict(state))


@contextmanager
def exclusive(workspace: Path) -> Iterator[None]:
    """Exclude any other `genai up` and `genai down` in this checkout. Raises ServicesError if one is running."""
    path = workspace / STATE
    path.parent.mkdir(exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout:
        raise ServicesError(
            "another `genai up` or `genai down` is running in this checkout; wait until it ends"
        ) from None


def terminate(service: Service) -> None:
    """Send SIGTERM, wait for the service and its runs to end, then kill it with all its descendants."""
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
