"""The executor of engines that place jobs by themselves (Ray, Dask, Slurm): the job is the same, only its way differs.

An engine gets an order and the share of a worker that the job takes. Back come the events of the job's process
(job_process.py), the outcome last.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from flows.executors.attempts import NO_WORKER_S, Lost, until_done
from flows.executors.dispatch import Dispatch
from flows.executors.executor import Heard, JobFailed, Listener
from flows.executors.nodes.companions import Companions, Other, Turns
from flows.executors.order import Order, Outcome, outcome_from
from flows.executors.shares import Offer, Share, share_of
from flows.graph import StageNode
from flows.process import Processes, Stopped
from flows.runs.job import Job, Result, key_of
from genai_core.config import ComputeConfig, ConfigError

POLL_S = 0.5
OFFERS_POLL_S = 2.0
AWAY_S = 120.0


class EngineAway(Exception):
    """The engine does not answer; it may come back."""


class Attempt(Protocol):
    """One order at an engine."""

    def news(self, timeout_s: float) -> Sequence[Sequence[Any]]:
        """New events, [KIND, VALUE] each; wait for them at most so long. Raises Lost, or JobFailed."""

    def cancel(self) -> None:
        """Have the job end, with time to save what it has. Nothing is heard of it afterwards."""


class Engine(Protocol):
    """Places orders on its workers. start_worker: what to do if there is none, for people.

    places_all_nodes: whether `submit` places a training's other machines, too.
    """

    start_worker: str
    places_all_nodes: bool

    def offers(self) -> Sequence[Offer]:
        """What each worker has. Raises EngineAway."""

    def submit(self, order: Order, share: Share) -> Attempt:
        """Place an order on the next worker that has its share free. Raises Lost if the engine cannot take it now."""

    def left(self) -> Mapping[str, tuple[Order, Attempt]]:
        """The living jobs that a dead coordinator of the run has left here, by their keys."""


class EngineExecutor:
    """See Executor. Methods may be called from many threads."""

    def __init__(self, engine: Engine, dispatch: Dispatch, processes: Processes, compute: ComputeConfig) -> None:
        self._engine, self._dispatch, self._processes, self._compute = engine, dispatch, processes, compute
        self._left = dict(engine.left())
        self._turns = Turns()

    def close(self) -> None:
        for _, attempt in self._left.values():  # no stage of this run waited for them
            attempt.cancel()
        self._dispatch.close()

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:  # noqa: ARG002
        """See Executor.execute. A lost worker is no failure of the stage: another one gets the job."""

        def attempt() -> tuple[Order, Outcome]:
            count = 1 if self._engine.places_all_nodes else stage.needs.nodes
            with Companions(listener, count, self._turns, self._processes, beside) as heard:
                left = self._left.pop(key_of(job), None)
                if left is not None:
                    self._dispatch.expect(left[0])
                order, placed = left or self._placed(stage, job, heard)
                heard.begin(order)
                return order, self._followed(placed, heard)

        def beside(order: Order, other: Other) -> Outcome:
            return self._followed(self._engine.submit(order, self._share(stage, other)), other)

        return until_done(self._dispatch, job, listener, attempt)

    def _placed(self, stage: StageNode, job: Job, listener: Heard) -> tuple[Order, Attempt]:
        order = self._dispatch.order(stage, job, listener.line)
        return order, self._engine.submit(order, self._share(stage, listener))

    def _share(self, stage: StageNode, listener: Heard) -> Share:
        """Wait until a worker has what the stage needs; the engine then waits until it is free."""
        began, told = time.monotonic(), False
        while True:
            if self._processes.stopping:
                raise Stopped("the run was stopped before this stage began")
            listener.check()
            waited = time.monotonic() - began
            try:
                offers = self._engine.offers()
                why = f"for a worker: there is none. {self._engine.start_worker}"
                if offers:
                    return share_of(stage.name, stage.needs, self._compute, offers)
            except ConfigError as error:  # the worker that had it was lost, and may come back
                why = f"for a worker: {error}"
            except EngineAway as error:
                if waited > AWAY_S:
                    raise JobFailed(str(error)) from None
                why = str(error)
            if not told and waited > NO_WORKER_S:
                told = True
                listener.waits(why)
            time.sleep(OFFERS_POLL_S)

    def _followed(self, attempt: Attempt, listener: Heard) -> Outcome:
        """Pass on the events of an attempt until its outcome. Raises Lost, JobFailed, Stopped."""
        try:
            return self._until_outcome(attempt, listener)
        except (Lost, JobFailed):
            raise  # it has ended
        except BaseException:  # stopped, or what we hear cannot be written: nobody waits for it any more
            attempt.cancel()
            raise

    def _until_outcome(self, attempt: Attempt, listener: Heard) -> Outcome:
        submitted, has_news = time.monotonic(), False
        while True:
            if self._processes.stopping:
                raise Stopped("stopped on request")
            listener.check()
            for kind, value in attempt.news(POLL_S):
                has_news = True
                if (outcome := _passed_on(kind, value, listener)) is not None:
                    return outcome
            if not has_news and time.monotonic() - submitted > NO_WORKER_S:
                has_news = True
                listener.waits("for a free worker")


def check_stages(engine: Engine, stages: Iterable[StageNode], compute: ComputeConfig) -> None:
    """Raise ConfigError if there are workers, but none has what one of the stages needs."""
    try:
        offers = engine.offers()
    except EngineAway as error:
        raise ConfigError(str(error)) from None
    for stage in stages if offers else ():
        share_of(stage.name, stage.needs, compute, offers)


def _passed_on(kind: str, value: Any, listener: Heard) -> Outcome | None:
    """Tell the listener of an event; an outcome is returned."""
    match kind:
        case "waits":
            listener.waits(value)
        case "started":
            listener.started(tuple(value))
        case "line":
            listener.line(value)
        case "progress":
            listener.progress(value)
        case "meets":
            listener.meets(value)
        case "outcome":
            return outcome_from(value)
        case "lost":
            raise Lost(value)
        case "broken":
            raise JobFailed(f"its worker could not run it: {value}")
        case "stopped":
            raise Lost("it was stopped there")
    return None
