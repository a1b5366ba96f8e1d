"""The coordinator's part of a job on several machines: when the first one waits for the others, they are ordered, too.

An order for another machine is the first one's, with where they meet. Its machine runs the command alone, so nothing
comes of it but lines. It ends with the first one.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from flows.executors.attempts import MAX_LOST, Lost
from flows.executors.executor import JobFailed, Listener
from flows.executors.order import Order, Outcome
from flows.process import Processes, Stopped

END_S = 30.0  # for the other machines to end by themselves, after the first one
POLL_S = 0.5


class Turns:
    """Lets one training of a run at a time wait for its machines: two that hold half of the workers each would wait for
    ever. Between runs, see nodes/meeting.py."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def take(self, processes: Processes, listener: Listener) -> None:
        """Wait for the turn. Raises Stopped."""
        told = False
        while not self._lock.acquire(timeout=POLL_S):
            if processes.stopping:
                raise Stopped("the run was stopped before this stage began")
            if not told:
                told = True
                listener.waits("for another training of this run to have all of its machines")

    def give_back(self) -> None:
        self._lock.release()


class Companions:
    """The listener of one attempt of a job's first machine; of a job on one machine, it passes everything on.

    count: of machines (`meta: nodes`); 1 if the engine orders the others. execute: has an order for another machine
    executed. It calls its listener's `check` meanwhile, as this one's has to be called while the first machine works.
    """

    def __init__(
        self,
        listener: Listener,
        count: int,
        turns: Turns,
        processes: Processes,
        execute: Callable[[Order, "Other"], Outcome],
    ) -> None:
        self._listener, self._count, self._turns = listener, count, turns
        self._processes, self._execute = processes, execute
        self._order: Order | None = None
        self._lock = threading.Lock()  # of the listener: several machines speak
        self._has_turn = self._has_begun = False
        self._threads: list[threading.Thread] = []
        self._failure: JobFailed | None = None
        self.deadline: float | None = None  # for the other machines to end, once the first one has

    def __enter__(self) -> "Companions":
        if self._count > 1:
            self._turns.take(self._processes, self._listener)
            self._has_turn = True
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end_turn()
        self.deadline = time.monotonic() + END_S
        for thread in self._threads:
            thread.join()
        if isinstance(error, NotTogether):
            raise error.failure from None

    def begin(self, order: Order) -> None:
        """The first machine's order."""
        self._order = order

    def waits(self, why: str) -> None:
        with self._lock:
            self._listener.waits(why)

    def started(self, gpus: tuple[str, ...]) -> None:
        self._has_begun = True
        self._end_turn()
        with self._lock:
            self._listener.started(gpus)

    def line(self, text: str) -> None:
        with self._lock:
            self._listener.line(text)

    def progress(self, state: dict[str, Any]) -> None:
        with self._lock:
            self._listener.progress(state)

    def meets(self, where: Mapping[str, Any]) -> None:
        """Order the other machines, once."""
        if self._count == 1 or self._threads or self._order is None or self._order.node is None:
            return
        node = replace(self._order.node, addresses=tuple(where["addresses"]), port=int(where["port"]))
        for rank in range(1, node.count):
            order = replace(self._order, node=replace(node, rank=rank))
            context = contextvars.copy_context()  # Prefect's logger finds its run by that
            thread = threading.Thread(target=context.run, args=(self._keep, order, rank), daemon=True)
            self._threads.append(thread)
            thread.start()

    def check(self) -> None:
        """Raise NotTogether if another machine cannot take part."""
        if self._failure is not None:
            raise NotTogether(self._failure)

    def _keep(self, order: Order, rank: int) -> None:
        """Have an order for another machine executed. While the first one waits, another worker replaces a lost one."""
        name, why = f"machine {rank + 1} of {self._count}", ""
        for _ in range(MAX_LOST):
            try:
                outcome = self._execute(order, Other(self, name))
            except Lost as lost:
                why = str(lost)
            except Stopped:
                return
            except Exception as error:
                self._failure = JobFailed(f"{name}: {error}")
                return
            else:
                if outcome.ran or not outcome.failure:
                    return
                if not outcome.is_lost:
                    self._failure = outcome.failed(f"{name}: ")
                    return
                why = outcome.failure
            if self.deadline is not None or self._has_begun:  # all end now, and the attempt is repeated
                return
            self.line(f"{name}: lost: {why}; another worker gets its part")
        self._failure = JobFailed(f"{name}: {MAX_LOST} workers were lost, the last one so: {why}", retryable=False)

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turns.give_back()


class NotTogether(Exception):
    """Another machine cannot take part, so the first one waits in vain."""

    def __init__(self, failure: JobFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Other:
    """The listener of another machine than the first: passes on what it says, with its number."""

    def __init__(self, companions: Companions, name: str) -> None:
        self._companions, self._name = companions, name
        self._has_begun = False

    def waits(self, why: str) -> None:
        self._companions.waits(f"{why}, as {self._name}")

    def started(self, gpus: tuple[str, ...]) -> None:  # noqa: ARG002
        self._has_begun = True

    def line(self, text: str) -> None:
        self._companions.line(f"{self._name}: {text}")

    def progress(self, state: dict[str, Any]) -> None: ...

    def meets(self, where: Mapping[str, Any]) -> None: ...

    def check(self) -> None:
        """Raise Stopped when the first machine has ended. What has begun ends by itself, and has time for that."""
        deadline = self._companions.deadline
        if deadline is not None and (not self._has_begun or time.monotonic() > deadline):
            raise Stopped("the first machine has ended")
