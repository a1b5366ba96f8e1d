"""React to the cancellation of a flow run at the server. Without a deployment, no worker ends the run."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from flows.beside import beside

SERVER_POLL_S = 2.0
POLL_S = 0.5


@contextmanager
def when_cancelled(act: Callable[[], None], asked: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """In a flow run, call `act` once, in a thread, when the run is cancelled at the server or `asked()` is true."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    flow_run_id = context.flow_run.id

    def watch(over: threading.Event) -> None:
        looked = time.monotonic()
        with get_client(sync_client=True) as client:
            while not over.wait(POLL_S):
                is_due = time.monotonic() - looked >= SERVER_POLL_S
                if is_due:
                    looked = time.monotonic()
                if asked() or (is_due and _is_cancelled(client, flow_run_id)):
                    act()
                    return

    with beside(watch, 5.0):
        yield


def until_cancelled(flow_body: Callable[[], State[Any]]) -> State[Any]:
    """Run the body of a flow with several steps. On cancellation, interrupt it like Ctrl-C, and return Cancelled.

    For a run that was started in a terminal, Prefect only sets the state Cancelling.
    """
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    if context.flow_run.deployment_id is not None or threading.current_thread() is not threading.main_thread():
        return flow_body()
    ended, cancelled, turn = threading.Event(), threading.Event(), threading.Lock()

    def interrupt() -> None:
        with turn:
            if not ended.is_set():
                cancelled.set()
                # To the main thread, which is waiting: a signal to the process may reach another thread.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    try:
        with when_cancelled(interrupt):
            result = flow_body()
            with turn:
                ended.set()
            return result
    except KeyboardInterrupt:
        if not cancelled.is_set():
            raise
        return Cancelled(message="cancelled at the server; the next run continues from here")


def _is_cancelled(client: Any, flow_run_id: UUID) -> bool:
    try:
        state = client.read_flow_run(flow_run_id).state
    except Exception:  # an outage of the server must not end the run
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)
