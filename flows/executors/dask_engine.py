"""Dask as an engine: an order is a task of dask.distributed, restricted by the resources that workers declare.

    dask worker ADDRESS --nthreads 8 --resources "cores=8 memory_gb=32 gpus=1 cellar=8"

A job takes one thread and its share of these; any other name is a label for `meta: place`. The scheduler's address is
DASK_SCHEDULER_ADDRESS, or what Dask's own configuration says.
"""

import json
import os
import queue
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, Worker, get_worker

from flows.executors.attempts import Lost
from flows.executors.dask_load import OwnTasks, key_of_task, workers_of
from flows.executors.engine import EngineAway
from flows.executors.executor import JobFailed
from flows.executors.job_runner import LAST_EVENTS, placed, run_order
from flows.executors.locality import Near, nearest
from flows.executors.order import Order
from flows.executors.shares import Offer, Share
from genai_core.config import ConfigError

CONNECT_S = 10.0
AWAY_S = 120.0  # for which the client tries to reach a scheduler that was restarted
BEGIN_S = 5.0  # for a worker that was free to begin; then any other may
LAST_NEWS_S = 10.0  # of a task that has ended: they may come after its end
_START = "Start one: dask worker {} --nthreads 8 --resources 'cores=8 memory_gb=32 gpus=0'"
_COUNTED = ("cores", "memory_gb", "gpus")


def work(order: str, topic: str, attempt: str) -> int:
    """The task. Sends batches of events as messages of a topic, and returns their number."""
    worker, execution, count = get_worker(), secrets.token_hex(4), 0
    key = worker.get_current_task()
    # At once: a second execution must be told from the first, however early that was lost.
    for batch in chain([placed(worker.address)], run_order(order, lambda: _is_cancelled(worker, key))):
        worker.log_event(topic, {"attempt": attempt, "execution": execution, "batch": batch})
        count += 1
    return count


def _is_cancelled(worker: Worker, key: Any) -> bool:
    """Whether nobody waits for the task any more, or the scheduler gave it to another worker."""
    task = worker.state.tasks.get(key)
    return task is None or task.state != "executing"


@dataclass(frozen=True)
class Task:
    """A task at the scheduler, and what its executions send. workers: those alone that may take it; empty: any."""

    future: "Future[int]"
    batches: "queue.SimpleQueue[dict[str, Any]]"
    workers: tuple[str, ...]

    @property
    def key(self) -> str:
        return str(self.future.key)


class DaskAttempt:
    """See Attempt. Dask runs the task of a lost worker again by itself: that would be the same attempt twice.

    submit: submits the task, for these workers alone. tasks: is told how far it is.
    """

    def __init__(self, submit: Callable[[tuple[str, ...]], Task], tasks: OwnTasks, workers: tuple[str, ...]) -> None:
        self._submit, self._tasks = submit, tasks
        self._use(submit(workers))

    def _use(self, task: Task) -> None:
        self._task, self._future, self._batches = task, task.future, task.batches
        self._waited_s = 0.0  # in vain. Not by the clock: while this process stood still, it heard nothing
        self._execution: str | None = None
        self._heard = 0

    def news(self, timeout_s: float) -> Sequence[Sequence[Any]]:
        ended = self._future.done()
        if ended and self._future.status != "finished":
            self._raise_end()
        wait_s = LAST_NEWS_S if ended else timeout_s
        if ended and self._heard >= self._future.result():
            raise Lost("its worker had no outcome")
        try:
            message = self._batches.get(timeout=wait_s)
        except queue.Empty:
            if ended:
                raise Lost("its outcome did not arrive") from None
            self._waited_s += wait_s
            if self._is_late():
                self._place_anywhere()
            return []
        if self._execution is None and not self._has_begun():
            self._place_anywhere()
            return []
        if self._execution not in (None, message["execution"]):
            self.cancel()
            raise Lost("its worker is gone")
        self._execution = message["execution"]
        self._heard += 1
        events: list[list[Any]] = json.loads(message["batch"])
        if any(kind in LAST_EVENTS for kind, _ in events):
            self._tasks.over(self._task.key)
        return events

    def cancel(self) -> None:
        with suppress(Exception):  # without the scheduler, the task ends by itself
            self._future.cancel(force=True)

    def _is_late(self) -> bool:
        """Whether the task should have begun by now: its worker has died, or is busy after all."""
        has_begun = self._execution is not None or self._future.done()
        return bool(self._task.workers) and not has_begun and self._waited_s > BEGIN_S

    def _has_begun(self) -> bool:
        """Whether the scheduler will give the task to another worker if its own dies: else it would wait for ever."""
        try:
            return self._tasks.begun(self._task)
        except Exception:
            return False

    def _place_anywhere(self) -> None:
        self.cancel()
        self._use(self._submit(()))

    def _raise_end(self) -> None:
        if self._future.status != "error":
            raise Lost("the scheduler was restarted, or dropped it")
        error = self._future.exception()
        if isinstance(error, KilledWorker):
            raise Lost("its workers are gone")
        raise JobFailed(f"its worker could not run it: {type(error).__name__}: {error}")


class DaskEngine:
    """See Engine. address: of the scheduler."""

    places_all_nodes = False

    def __init__(self, client: Client, address: str) -> None:
        # The topic of the client's own events: the scheduler keeps the messages of any other one for ever.
        self._client, self._topic = client, client.id
        self._batches: weakref.WeakValueDictionary[str, queue.SimpleQueue[dict[str, Any]]]
        self._batches = weakref.WeakValueDictionary()  # until their attempt is over
        self._tasks = OwnTasks(client)
        self._lock = threading.Lock()
        self.start_worker = _START.format(address)

    def offers(self) -> Sequence[Offer]:
        try:
            workers = workers_of(self._client)
        except Exception as error:
            raise EngineAway(f"the Dask scheduler does not answer: {error}") from None
        return [_offer(name, worker["resources"]) for name, worker in workers.items()]

    def left(self) -> dict[str, tuple[Order, DaskAttempt]]:
        return {}  # a task ends with its client

    def submit(self, order: Order, share: Share, near: Sequence[Near] = ()) -> DaskAttempt:
        with self._lock:  # of two jobs that come at once, the second one sees where the first one goes
            workers = self._free(near, _taken(share)) if near else ()
            return DaskAttempt(lambda workers: self._task(order, share, workers), self._tasks, workers)

    def _task(self, order: Order, share: Share, workers: tuple[str, ...]) -> Task:
        attempt = f"{order.job.stage}-{order.job.attempt}-{secrets.token_hex(4)}"
        batches = self._batches[attempt] = queue.SimpleQueue()
        key = key_of_task(f"genai-{order.job.run}-{attempt}", _taken(share))
        try:
            self._client.subscribe_topic(
                self._topic, self._hear
            )  # each time: a restarted scheduler knows nothing of it
            future = self._client.submit(
                work,
                order.text(),
                self._topic,
                attempt,
                key=key,
                pure=False,
                resources=_taken(share),
                workers=list(workers) or None,  # not `allow_other_workers`: it ignores resources, too (dask#4792)
            )
        except Exception as error:
            raise Lost(f"the Dask scheduler did not take it: {error}") from None
        if workers:
            self._tasks.expect(key, workers, BEGIN_S)
        return Task(future, batches, workers)

    def _free(self, near: Sequence[Near], wanted: dict[str, float]) -> tuple[str, ...]:
        """The workers that should get a task: those with most of its inputs that can begin it at once."""
        try:
            with_room = self._tasks.with_room([one.worker for one in near], wanted)
        except Exception:  # then the scheduler chooses, when it is back
            return ()
        return nearest(near, lambda one: one.worker in with_room)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        if (batches := self._batches.get(message.get("attempt", ""))) is not None:  # else one of the scheduler's own
            batches.put(message)


def _offer(name: str, resources: dict[str, float]) -> Offer:
    places = frozenset(label for label in resources if label not in _COUNTED)
    cores, memory_gb, gpus = (resources.get(label, 0.0) for label in _COUNTED)
    return Offer(name, cores, memory_gb, gpus, places)


def _taken(share: Share) -> dict[str, float]:
    """A worker runs a task with restrictions only if it declares each of them, so none is asked for without need."""
    counted = {"cores": share.cores, "memory_gb": share.memory_gb, "gpus": share.gpus}
    labels = {share.place: 1.0} if share.place else {}
    return {**{label: value for label, value in counted.items() if value}, **labels}


@contextmanager
def open_dask() -> Iterator[DaskEngine]:
    """The engine of one run. Raises ConfigError if there is no scheduler."""
    address = os.environ.get("DASK_SCHEDULER_ADDRESS") or dask.config.get("scheduler-address", None)
    if address is None:
        raise ConfigError(
            "executor dask needs the address of a Dask scheduler; start one (dask scheduler) and set "
            "DASK_SCHEDULER_ADDRESS=tcp://HOST:8786"
        )
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:
        raise ConfigError(f"{address} (DASK_SCHEDULER_ADDRESS): no Dask scheduler answers: {error}") from None
    with client:
        client._timeout = AWAY_S
        yield DaskEngine(client, address)
