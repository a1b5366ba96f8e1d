"""Ray as an engine: an order is a task whose results are its events, on a node that has its share free.

The machine that holds the run is a node of the cluster itself (`ray start --address=HEAD:6379 --num-cpus=0`). The
address of the head is RAY_ADDRESS; without it, Ray looks for a node on this machine. `meta: place` is the label `place`
of a node.
"""

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flows.executors.attempts import Lost
from flows.executors.engine import EngineAway
from flows.executors.executor import JobFailed
from flows.executors.job_runner import END_S, placed, run_order
from flows.executors.locality import Near, nearest
from flows.executors.order import Order
from flows.executors.shares import Offer, Share
from genai_core.config import ConfigError

GB = 2.0**30
CONNECT_S = 10.0
PLACE = "place"


def work(order: str) -> Iterator[str]:
    """The task. A worker that is asked to cancel it gets a KeyboardInterrupt, which ends the job's process."""
    yield placed(ray.get_runtime_context().get_node_id())
    yield from run_order(order, lambda: False)


class RayAttempt:
    """See Attempt. events: Ray's generator of references to them."""

    def __init__(self, events: Generator[Any, None, None]) -> None:
        self._events = events

    def news(self, timeout_s: float) -> Sequence[Sequence[Any]]:
        try:
            if not ray.wait([self._events], timeout=timeout_s)[0]:
                return []
            found: list[list[Any]] = json.loads(ray.get(next(self._events)))
            return found
        except StopIteration:
            raise Lost("its worker had no outcome") from None
        except RayTaskError as error:
            raise JobFailed(f"its worker could not run it: {_last_line(error)}") from None
        except RayError as error:
            raise Lost(_how(error)) from None

    def cancel(self) -> None:
        """Wait for the end as well: Ray kills the workers of a driver that leaves."""
        deadline = time.monotonic() + END_S
        with suppress(Exception):
            ray.cancel(self._events)
            while time.monotonic() < deadline:
                if ray.wait([self._events], timeout=1.0)[0]:
                    ray.get(next(self._events))


class RayEngine:
    """See Engine."""

    places_all_nodes = False
    start_worker = "Start one: ray start --address=HEAD:6379"

    def __init__(self) -> None:
        self._work = ray.remote(work)

    def offers(self) -> Sequence[Offer]:
        try:
            nodes = ray.nodes()
        except Exception as error:
            raise EngineAway(f"the Ray cluster does not answer: {_first_line(error)}") from None
        return [_offer(node) for node in nodes if node["Alive"] and node["Resources"].get("CPU")]

    def left(self) -> dict[str, tuple[Order, RayAttempt]]:
        return {}  # a task ends with its driver

    def submit(self, order: Order, share: Share, near: Sequence[Near] = ()) -> RayAttempt:
        options: dict[str, Any] = {"label_selector": {PLACE: share.place}} if share.place else {}
        if order.node:
            options["scheduling_strategy"] = "SPREAD"  # over nodes, if there is a choice
        elif near:
            options["scheduling_strategy"] = _preferring(secrets.choice(nearest(near, lambda _: True)))
        try:
            return RayAttempt(
                self._work.options(
                    name=f"{order.job.run} {order.job.stage} {order.job.attempt}",
                    num_cpus=share.cores,
                    num_gpus=share.gpus,
                    memory=int(share.memory_gb * GB),
                    num_returns="streaming",
                    max_retries=0,  # a repeated order is another attempt, with another number
                    **options,
                ).remote(order.text())
            )
        except RayError as error:
            raise Lost(_first_line(error)) from None


def _preferring(node: str) -> Any:
    """The strategy that uses this node if it is free, else any other: `soft` alone would wait for a node that is busy.

    Ray's own option for that has a private name (ray-project/ray#34283). Without it, Ray chooses the node.
    """
    try:
        return NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
    except TypeError:
        return "DEFAULT"


def _offer(node: dict[str, Any]) -> Offer:
    has, place = node["Resources"], node.get("Labels", {}).get(PLACE)
    return Offer(
        node["NodeID"],
        has["CPU"],
        has.get("memory", 0.0) / GB,
        has.get("GPU", 0.0),
        frozenset([place] if place else []),
    )


def _how(error: RayError) -> str:
    """How a task was lost; Ray's own words are half a page."""
    if isinstance(error, NodeDiedError):
        return "its node is gone"
    if isinstance(error, WorkerCrashedError):
        return "its worker's process died"
    if isinstance(error, OutOfMemoryError):
        return "Ray ended it, because its node ran out of memory"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _last_line(error: Exception) -> str:
    """The error itself, at the end of a traceback."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__


@contextmanager
def open_ray() -> Iterator[RayEngine]:
    """The engine of one run. Raises ConfigError if there is no cluster."""
    address = os.environ.get("RAY_ADDRESS") or "auto"
    if address.startswith("ray://"):
        raise ConfigError(
            f"RAY_ADDRESS is {address}, a Ray Client server, which has no streamed results; make this machine a node: "
            "ray start --address=HEAD:6379 --num-cpus=0, and unset RAY_ADDRESS"
        )
    with _own_signals():
        try:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="genai")
        except Exception as error:
            raise ConfigError(
                f"no Ray cluster at {address} (RAY_ADDRESS): {_first_line(error)}. Start one: ray start --head; on "
                "other machines: ray start --address=HEAD:6379"
            ) from None
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError if nobody listens at the address: Ray would try again for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host, int(port)), timeout=CONNECT_S):
            return


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's reaction to SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
