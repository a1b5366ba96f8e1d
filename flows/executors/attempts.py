"""A job's attempts: a lost worker is no failure of the stage, another one gets the job."""

from collections.abc import Callable
from typing import Any

from flows.executors.dispatch import Dispatch
from flows.executors.executor import CommandFailed, JobFailed, Listener
from flows.executors.order import Order, Outcome
from flows.runs.job import Job, Result

MAX_LOST = 10  # workers, per job
NOT_STARTED = "Failed to submit flow run to infrastructure"  # a worker of Prefect says so: no such image, no memory
NO_WORKER_S = 30.0  # then the user hears that no worker takes the job


class Lost(Exception):
    """The worker of an attempt was lost; the message says how that was seen."""


class _Heard:
    """See Listener: passes all on. has_begun: whether the command of the attempt began."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.has_begun = False

    def waits(self, why: str) -> None:
        self._listener.waits(why)

    def started(self, gpus: tuple[str, ...]) -> None:
        self.has_begun = True
        self._listener.started(gpus)

    def line(self, text: str) -> None:
        self._listener.line(text)

    def progress(self, state: dict[str, Any]) -> None:
        self._listener.progress(state)


def until_done(
    dispatch: Dispatch, job: Job, listener: Listener, attempt: Callable[[Listener], tuple[Order, Outcome]]
) -> Result:
    """Have a job executed until an attempt has an outcome, and take it over.

    The result of an earlier attempt counts too, also that of an earlier coordinator: a worker may have been lost just
    after its result was complete at the DVC remote.

    attempt: has an order executed somewhere, and tells the listener. Raises Lost if it has to be repeated.
    Raises JobFailed, PlaceError, RemoteError and what `attempt` raises; CommandFailed also if most of the workers were
    lost while they ran the command: an engine that ends a worker for its memory seldom says so.
    """
    why, ran = "", 0
    for _ in range(MAX_LOST):
        if (known := dispatch.known(job, listener.line)) is not None:
            return known
        heard = _Heard(listener)
        try:
            order, outcome = attempt(heard)
        except Lost as lost:
            why = str(lost).removesuffix(".")
            ran += heard.has_begun
            listener.waits("for another worker")  # a terminal shows no bar then, but the line
            listener.line(f"lost: {why}; another worker gets the job")
            continue
        if outcome.is_lost:
            why = outcome.failure
            ran += heard.has_begun
            listener.waits("for its machines")
            listener.line(f"lost: {why}; the training starts again from its last checkpoint")
        elif dispatch.is_current(order, outcome):
            return dispatch.take(order, outcome, listener.line)
    if ran > MAX_LOST // 2:
        raise CommandFailed(
            f"{MAX_LOST} workers were lost, {ran} of them while they ran it, the last one so: "
            f"{why}. If they ran out of memory, raise meta.memory_gb in dvc.yaml",
            retryable=False,
        )
    if why.startswith(NOT_STARTED):
        raise JobFailed(f"no worker could start it, in {MAX_LOST} attempts. {why}", retryable=False)
    raise JobFailed(
        f"{MAX_LOST} workers were lost, {MAX_LOST - ran} of them before its command began, the last one so: {why}",
        retryable=False,
    )
