"""A Prefect server that does not answer while a run begins: the run waits for it.

Later, Prefect's client repeats each request for a minute. It does not before it has once had an answer.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient

from flows.process import Stopped
from flows.redact import redacted, without_secrets
from genai_core import GenaiError

Answer = TypeVar("Answer")

AWAY_S = 120.0
BUSY_S = 600.0  # of one that answers, but not yet all: one that starts on a busy machine
POLL_S = 2.0
_UNAVAILABLE = (502, 503, 504)  # SQLite is busy, or a proxy has no server


class ServerAway(GenaiError):
    """The Prefect server was away for AWAY_S, or too busy for BUSY_S; the message is one line."""


def reach(client: SyncPrefectClient, say: Callable[[str], None], is_over: Callable[[], bool]) -> None:
    """Wait until the server has answered this client. say: receives a line if that takes time.

    Returns at once when `is_over` is true. Raises ServerAway.
    """
    deadline, told = time.monotonic() + AWAY_S, False
    while (error := client.api_healthcheck()) is not None and not is_over():
        url = without_secrets(str(client.api_url))
        if not is_no_answer(error) or time.monotonic() > deadline:
            raise ServerAway(
                f"no Prefect server answers at {url} ({redacted(str(error))}); start it, and resume the run"
            )
        if not told:
            say(f"the Prefect server at {url} does not answer; waiting for it")
            told = True
        time.sleep(POLL_S)


def answered(
    ask: Callable[[], Answer], client: SyncPrefectClient, say: Callable[[str], None], is_over: Callable[[], bool]
) -> Answer:
    """What the server answers to a question that may be asked twice; asked again while the server is away.

    For what a run needs before its first stage, when nothing is lost by waiting. The others as in `reach`. Raises
    ServerAway, Stopped if there is no answer and `is_over` is true, and what else `ask` raises.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            return ask()
        except Exception as error:
            if not is_no_answer(error):
                raise
            if is_over():
                raise Stopped("stopped on request") from None
            if time.monotonic() > deadline:
                raise ServerAway(
                    f"the Prefect server does not answer ({redacted(str(error))}); resume the run"
                ) from None
        reach(client, say, is_over)
        time.sleep(POLL_S)  # it may answer when asked for its health, and still be too busy


def begun(flow: Callable[[], Answer], has_begun: Callable[[], bool], say: Callable[[str], None]) -> Answer:
    """Call a flow; if the server went away before its first line, wait and call it again. Raises ServerAway."""
    try:
        return flow()
    except Exception as error:  # of Prefect's engine: the flow's own are in its state
        if has_begun() or not is_no_answer(error):
            raise
    with get_client(sync_client=True) as client:
        reach(client, say, has_begun)
    return flow()


def is_no_answer(error: BaseException) -> bool:
    """Whether Prefect's client had no connection, no answer, or that of a server that is too busy or just starting."""
    return any(
        isinstance(one, httpx.TransportError)
        or (isinstance(one, httpx.HTTPStatusError) and one.response.status_code in _UNAVAILABLE)
        for one in (error, error.__cause__)
    )
