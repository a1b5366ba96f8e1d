"""What a worker reports to the server of a job, and what the coordinator makes of the server's answers."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.executors import pool_job, pool_watch
from flows.executors.order import Outcome
from flows.executors.pool_job import Report, execute_job
from flows.executors.pool_watch import Watch
from flows.process import Processes
from tests.flows.conftest import Server, wait_for

SOON = 20.0


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(pool_watch, "POLL_S", 0.1)
    monkeypatch.setattr(pool_job, "REPORT_S", 0.05)
    monkeypatch.setattr(pool_job, "BEAT_S", 0.1)
    monkeypatch.setattr(pool_job, "get_run_logger", lambda: SimpleNamespace(getChild=lambda _name: None))
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def run(client: SyncPrefectClient) -> UUID:
    return client.create_flow_run(execute_job, parameters={"order": "{}"}).id


def test_a_job_whose_run_was_deleted_at_the_server_ends_on_both_sides(client: SyncPrefectClient, run: UUID) -> None:
    watch, processes = Watch(client), Processes()
    with Report(client, run).sent(processes):
        seen = watch.add(run)
        wait_for(lambda: seen.report, SOON)
        assert not seen.has_ended
        assert not processes.stopping
        client.delete_flow_run(run)
        wait_for(lambda: seen.has_ended and processes.stopping, SOON)
    assert seen.is_deleted
    watch.close()


def test_the_time_of_a_request_that_was_repeated_is_no_silence_of_a_worker(
    client: SyncPrefectClient, run: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's client repeats a request while the server is away."""
    for slow_s, is_silent in ((pool_watch.SLOW_S, True), (0.0, False)):
        monkeypatch.setattr(pool_watch, "SLOW_S", slow_s)
        asked, watch = list[int](), Watch(client)
        monkeypatch.setattr(watch, "_ask", lambda runs, s, ask=watch._ask, asked=asked: (ask(runs, s), asked.append(1)))
        seen = watch.add(run)
        wait_for(lambda asked=asked: len(asked) > 3, SOON)  # type: ignore[misc]
        watch.close()
        assert (seen.silent_s > 0.0) is is_silent


def test_an_older_report_never_replaces_the_outcome(client: SyncPrefectClient) -> None:
    """The server may take longer for the report that was sent first."""
    first_sent, arrived = threading.Event(), list[Any]()
    slow = threading.Event()

    class Slow:
        def create_artifact(self, _artifact: Any) -> Any:
            return SimpleNamespace(id=uuid4())

        def request(self, *_path: str, json: dict[str, Any], **_more: Any) -> None:
            if not first_sent.is_set():
                first_sent.set()
                slow.wait(1.0)
            arrived.append(json["data"]["outcome"])

    report, outcome = Report(Slow(), uuid4()), Outcome("k", 1)  # type: ignore[arg-type]
    with report.sent(Processes()):
        report.waits("for a GPU")
        assert first_sent.wait(SOON)
        report.end(outcome)
    assert arrived == [None, outcome.text()]
