"""A flow of several steps that was started in a terminal, and is cancelled at the server."""

import signal
import threading
from collections.abc import Callable
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.states import Cancelled

CANCEL_POLL_S = 2.0


def until_cancelled(flow_body: Callable[[], State[Any]]) -> State[Any]:
    """Run the body; when its flow run is cancelled at the server, interrupt it as Ctrl-C does, and end it Cancelled.

    With a deployment the worker does so. Without one nobody would: Prefect only writes down that it is cancelling.
    """
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    if context.flow_run.deployment_id is not None or threading.current_thread() is not threading.main_thread():
        return flow_body()
    flow_run_id, ended, cancelled, turn = context.flow_run.id, threading.Event(), threading.Event(), threading.Lock()

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not ended.wait(CANCEL_POLL_S):
                try:
                    state = client.read_flow_run(flow_run_id).state
                except Exception:  # noqa: S112 - a server that is away for a while must not end the work
                    continue
                if state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED):
                    with turn:
                        if not ended.is_set():
                            cancelled.set()
                            # To this thread, whose waiting ends with it; one to the process may go to another.
                            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        result = flow_body()
        with turn:
            ended.set()
        return result
    except KeyboardInterrupt:
        if not cancelled.is_set():
            raise
        return Cancelled(message="cancelled at the server; the next one goes on from here")
    finally:
        ended.set()
        thread.join(timeout=5.0)
