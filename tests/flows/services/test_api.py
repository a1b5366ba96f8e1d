"""Prefect's API by plain HTTP, against a server that is busy."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flows.services import api
from flows.services.api import Api, ApiError


class Busy(ThreadingHTTPServer):
    """Answers with each of `statuses` once, and with the last for good; keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.bodies = list(statuses), list[bytes]()


class Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()
        self.wfile.write(b'{"done": true}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(api.time, "sleep", seconds.append)
    return seconds


@contextmanager
def answering(*statuses: int) -> Iterator[Busy]:
    with Busy(*statuses) as busy:
        thread = threading.Thread(target=busy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield busy
        finally:
            busy.shutdown()
            thread.join()


def ask(server: Busy) -> Any:
    return Api(f"http://127.0.0.1:{server.server_port}").post("runs", name="one")


def test_a_server_that_is_busy_for_a_while_is_asked_again(waited: list[float]) -> None:
    with answering(503, 503, 200) as server:
        assert ask(server) == {"done": True}
    assert server.bodies == [b'{"name": "one"}'] * 3
    assert len(waited) == 2


def test_one_that_stays_busy_is_given_up_after_some_seconds(waited: list[float]) -> None:
    with answering(503) as server, pytest.raises(ApiError, match="status 503 for /runs"):
        ask(server)
    assert 5 < sum(waited) < 20
    assert len(server.bodies) == len(waited) + 1


def test_what_is_refused_is_not_asked_again(waited: list[float]) -> None:
    with answering(409) as server, pytest.raises(ApiError, match="status 409 for /runs"):
        ask(server)
    assert waited == []
