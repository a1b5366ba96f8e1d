"""A Prefect server that does not answer while a run begins."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.process import Stopped
from flows.runs import server_away
from flows.runs.server_away import ServerAway, answered, begun, is_no_answer, reach


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port where nothing answers yet."""
    monkeypatch.setattr(server_away, "POLL_S", 0.05)
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        free = own.getsockname()[1]
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free}/api"}):
        yield free


@pytest.fixture
def back(port: int) -> Iterator[threading.Event]:
    """Set it, and the server is back."""
    is_set, over = threading.Event(), threading.Event()

    def serve() -> None:
        is_set.wait()
        with ThreadingHTTPServer(("127.0.0.1", port), Healthy) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            over.wait()
            server.shutdown()

    thread = threading.Thread(target=serve)
    thread.start()
    yield is_set
    is_set.set()
    over.set()
    thread.join()


def no_answer() -> None:
    """As Prefect's engine says it."""
    try:
        raise httpx.ConnectError("connection refused")
    except httpx.ConnectError as error:
        raise RuntimeError("Failed to reach API") from error


def test_a_flow_whose_server_went_away_before_its_first_line_is_called_again(back: threading.Event) -> None:
    called, said = list[int](), list[str]()

    def flow() -> str:
        called.append(1)
        if len(called) == 1:
            no_answer()
        return "done"

    def say(line: str) -> None:
        said.append(line)
        back.set()

    assert begun(flow, lambda: False, say) == "done"
    assert len(called) == 2
    (line,) = said
    assert line.endswith("/api/ does not answer; waiting for it")


def test_a_flow_that_has_begun_is_never_called_again(port: int) -> None:
    called = list[int]()

    def flow() -> None:
        called.append(port)
        no_answer()

    with pytest.raises(RuntimeError, match="Failed to reach API"):
        begun(flow, lambda: True, print)
    with pytest.raises(ZeroDivisionError):
        begun(lambda: 1 // 0, lambda: False, print)
    assert len(called) == 1


def test_a_busy_server_counts_as_one_that_does_not_answer() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:4200/api/task_runs/")
    for status, is_away in ((503, True), (502, True), (404, False), (500, False)):
        error = httpx.HTTPStatusError("", request=request, response=httpx.Response(status, request=request))
        assert is_no_answer(error) is is_away


def test_a_question_is_asked_again_while_the_server_is_too_busy(back: threading.Event) -> None:
    back.set()
    asked = list[int]()

    def ask() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise httpx.HTTPStatusError("", request=request, response=httpx.Response(503, request=request))
        return "yes"

    request = httpx.Request("POST", "http://127.0.0.1:4200/api/deployments/")
    with get_client(sync_client=True) as client:
        assert answered(ask, client, print, lambda: False) == "yes"
        assert len(asked) == 3
        with pytest.raises(ZeroDivisionError):
            answered(lambda: 1 // 0, client, print, lambda: False)
        asked.clear()
        with pytest.raises(Stopped):
            answered(ask, client, print, lambda: True)


def test_a_server_that_stays_too_busy_is_asked_with_pauses(
    back: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    back.set()
    monkeypatch.setattr(server_away, "BUSY_S", 0.5)
    asked, request = list[int](), httpx.Request("POST", "http://127.0.0.1:4200/api/deployments/")

    def ask() -> None:
        asked.append(1)
        raise httpx.HTTPStatusError("busy", request=request, response=httpx.Response(504, request=request))

    with (
        get_client(sync_client=True) as client,
        pytest.raises(ServerAway, match=r"the Prefect server does not answer \(busy\); resume the run"),
    ):
        answered(ask, client, print, lambda: False)
    assert 2 <= len(asked) <= 0.5 / server_away.POLL_S + 2


def test_a_server_that_stays_away_is_an_error_that_says_where(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_away, "AWAY_S", 0.1)
    with get_client(sync_client=True) as client:
        with pytest.raises(ServerAway, match=rf"no Prefect server answers at http://127.0.0.1:{port}/api/ \(.*refused"):
            reach(client, lambda _: None, lambda: False)
        reach(client, lambda _: None, lambda: True)  # the run was stopped
