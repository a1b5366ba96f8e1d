"""The end of a server: what a signal does."""

import asyncio
import os
import signal

import pytest
from uvicorn import Config, Server

from flows.serving import server as module
from flows.serving.jobs import Job, JobQueue
from tests.flows.serving.scripted import generation


def stopped(*, signals: int) -> tuple[bool, bool]:
    """Send signals to this process. Return whether the server then waits for requests, and the waiting job's state."""

    async def story() -> tuple[bool, bool]:
        queue, server = JobQueue(64), Server(Config("unused"))
        job = Job("draw", generation("gan"), {})
        queue.put(job)
        module.stop_on_signals(server, queue, [])
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
        assert server.should_exit
        return not server.force_exit, job.answer.done() and job.answer.exception() is not None

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("host", "why"), [("no.such.invalid", "--host no.such.invalid: "), ("192.0.2.1", "another machine")]
)
def test_a_wrong_host_is_not_a_wrong_port(host: str, why: str) -> None:
    with pytest.raises(module.ServeError, match=why) as raised, module.listening(host, 0):
        pass
    assert "--port" not in str(raised.value)


def test_the_first_signal_lets_requests_finish() -> None:
    assert stopped(signals=1) == (True, False)


def test_what_is_not_answered_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSE_AFTER_S", 0.0)
    assert stopped(signals=1) == (True, True)


def test_a_second_signal_does_not_wait() -> None:
    assert stopped(signals=2) == (False, True)
