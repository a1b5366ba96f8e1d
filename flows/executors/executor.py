"""The seam between a run and what executes its stages: a job goes in, its events come back, then its result."""

from collections.abc import Mapping
from typing import Any, Protocol

from flows.graph import StageNode
from flows.runs.job import Job, Result
from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION


class JobFailed(Exception):
    """A job has no result. Other than a CommandFailed, it is the machine's fault: other software, a full disk.

    retryable: False if the fault needs manual action.
    """

    def __init__(self, why: str, *, retryable: bool = True) -> None:
        super().__init__(why)
        self.retryable = retryable


class CommandFailed(JobFailed):
    """A job's command is at fault: it failed, exceeded its time limit, or worker after worker was lost while it ran."""


def failed_with(status: int, where: str = "") -> JobFailed:
    """The failure of a command that ended with a status other than 0. where: the machine, if it was another one."""
    kind = JobFailed if status == MACHINE_FAULT else CommandFailed
    return kind(f"status {status}{where}", retryable=status != NEEDS_MANUAL_ACTION)


class Listener(Protocol):
    """Receives the events of one job."""

    def waits(self, why: str) -> None:
        """The job waits, for example "for a free GPU"."""

    def started(self, gpus: tuple[str, ...]) -> None:
        """The command begins, on these GPUs."""

    def line(self, text: str) -> None:
        """The command printed a line."""

    def progress(self, state: dict[str, Any]) -> None:
        """The command wrote its progress file."""


class NodeListener(Listener, Protocol):
    """Receives the events of a job that may be one on several machines (`meta: nodes`)."""

    def meets(self, where: Mapping[str, Any]) -> None:
        """The first machine waits for the others: `addresses` and `port` are where they find it."""


class Heard(NodeListener, Protocol):
    """Receives the events of a job on another machine, where these come in."""

    def check(self) -> None:
        """Called again and again; raises if the job is not wanted any more."""


class Executor(Protocol):
    """Executes jobs, each in the thread that calls it."""

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:
        """Execute a job whose result is not in DVC's cache.

        When this returns, the outputs are in the run's own place and in its cache.

        Args:
            stage: The stage of the job.
            job: The stage's inputs, as they are in the run's place.
            listener: Receives the job's events.
            held: Descriptor of a lock that the job's processes must keep.

        Raises:
            CommandFailed: The command failed.
            JobFailed: It could not be executed.
            Stopped: The run was stopped.
            PlaceError: The inputs or outputs are not as expected; a retry would not help.
        """
