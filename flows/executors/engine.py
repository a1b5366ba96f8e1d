"""The executor of engines that place jobs by themselves (Ray, Dask, Slurm): the job is the same, only its way differs.

An engine gets an order, the share of a worker that the job takes, and the workers that have its inputs. Back come the
events of the job's process (job_process.py), the outcome last. Before them, an engine that knows it says where the job
is: `placed`, with `worker`, its own name of the worker, and `host` and `home` of the machine.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from flows.executors.attempts import NO_WORKER_S, Lost, until_done
from flows.executors.dispatch import Dispatch
from flows.executors.executor import Heard, JobFailed, Listener
from flows.executors.locality import Locality, Near
from flows.executors.machine import Machine, machine_of
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

    def submit(self, order: Order, share: Share, near: Sequence[Near] = ()) -> Attempt:
        """Place an order on the next worker that has its share free. Raises Lost if the engine cannot take it now.

        near: best first, the workers that should get it if they are free at once. It must not wait for them.
        """

    def left(self) -> Mapping[str, tuple[Order, Attempt]]:
        """The living jobs that a dead coordinator of the run has left here, by their keys."""


class EngineExecutor:
    """See Executor. Methods may be called from many threads."""

    def __init__(self, engine: Engine, dispatch: Dispatch, processes: Processes, compute: ComputeConfig) -> None:
        self._engine, self._dispatch, self._processes, self._compute = engine, dispatch, processes, compute
        self._left = dict(engine.left())
        self._turns = Turns()
        self._locality = Locality(dispatch.size_of)

    def close(self) -> None:
        for _, attempt in self._left.values():  # no stage of this run waited for them
            attempt.cancel()
        self._dispatch.close()

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:  # noqa: ARG002
        """See Executor.execute. A lost worker is no failure of the stage: another one gets the job."""

        def attempt(listener: Listener) -> tuple[Order, Outcome]:
            count = 1 if self._engine.places_all_nodes else stage.needs.nodes
            with Companions(listener, count, self._turns, self._processes, beside) as heard:
                left = self._left.pop(key_of(job), None)
                if left is not None:
                    self._dispatch.expect(left[0])
                order, near, placed = (left[0], (), left[1]) if left else self._placed(stage, job, heard)
                heard.begin(order)
                return order, self._followed(placed, order, near, heard)

        def beside(order: Order, other: Other) -> Outcome:
            share, _ = self._share(stage, other)
            return self._followed(self._engine.submit(order, share), order, (), other)

        result = until_done(self._dispatch, job, listener, attempt)
        if result.machine is not None:
            self._locality.add(machine_of(result.machine), self._dispatch.made(result))
        return result

    def _placed(self, stage: StageNode, job: Job, listener: Heard) -> tuple[Order, Sequence[Near], Attempt]:
        order = self._dispatch.order(stage, job, listener.line)
        share, offers = self._share(stage, listener)
        # The machines of one training should be several: the engine spreads them.
        near = () if order.node else self._locality.near(order.reads, share, offers)
        return order, near, self._engine.submit(order, share, near)

    def _share(self, stage: StageNode, listener: Heard) -> tuple[Share, Sequence[Offer]]:
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
                    return share_of(stage.name, stage.needs, self._compute, offers), offers
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

    def _followed(self, attempt: Attempt, order: Order, near: Sequence[Near], listener: Heard) -> Outcome:
        """Pass on the events of an attempt until its outcome. Raises Lost, JobFailed, Stopped."""
        try:
            return self._until_outcome(attempt, order, near, listener)
        except (Lost, JobFailed):
            raise  # it has ended
        except BaseException:  # stopped, or what we hear cannot be written: nobody waits for it any more
            attempt.cancel()
            raise

    def _until_outcome(self, attempt: Attempt, order: Order, near: Sequence[Near], listener: Heard) -> Outcome:
        submitted, has_news = time.monotonic(), False
        machine: Machine | None = None
        while True:
            if self._processes.stopping:
                raise Stopped("stopped on request")
            listener.check()
            for kind, value in attempt.news(POLL_S):
                has_news = True
                if kind == "placed":
                    machine = machine_of(value)
                    self._locality.works_on(value["worker"], machine)
                    if (why := self._locality.described(order.reads, machine, near)) is not None:
                        listener.line(why)
                    continue
                if kind == "started" and machine is not None:  # it has fetched its inputs
                    self._locality.add(machine, order.reads)
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
