"""A job's attempts: a lost worker is no failure of the stage, another one gets the job."""

from collections.abc import Callable

from flows.executors.dispatch import Dispatch
from flows.executors.executor import CommandFailed, Listener
from flows.executors.order import Order, Outcome
from flows.graph import StageNode
from flows.runs.job import Job, Result

MAX_LOST = 10  # workers, per job
NO_WORKER_S = 30.0  # then the user hears that no worker takes the job


class Lost(Exception):
    """The worker of an attempt was lost; the message says how that was seen."""


def until_done(
    dispatch: Dispatch, stage: StageNode, job: Job, listener: Listener, attempt: Callable[[Order], Outcome]
) -> Result:
    """Have a job executed until an attempt has an outcome, and take it over; one of an earlier coordinator counts too.

    attempt: executes an order somewhere. Raises Lost if it has to be repeated.
    Raises CommandFailed, PlaceError, RemoteError and what `attempt` raises.
    """
    if (known := dispatch.known(job, listener.line)) is not None:
        return known
    for _ in range(MAX_LOST):
        order = dispatch.order(stage, job, listener.line)
        try:
            outcome = attempt(order)
        except Lost as lost:
            listener.line(f"lost: {lost}; another worker gets the job")
            continue
        if dispatch.is_current(order, outcome):
            return dispatch.take(order, outcome, listener.line)
    raise CommandFailed(
        f"{MAX_LOST} workers were lost while they ran it; it may take more memory than meta.memory_gb says",
        retryable=False,
    )
