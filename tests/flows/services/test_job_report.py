"""What the process of a pool's job reports to a Prefect server."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.executors import pool_watch
from flows.executors.order import Outcome
from flows.executors.pool_watch import Watch
from flows.process import Processes
from flows.services import job_report
from flows.services.api import Api, ApiError
from flows.services.job_report import Report
from tests.flows.conftest import Server, wait_for

SOON = 20.0


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(pool_watch, "POLL_S", 0.1)
    monkeypatch.setattr(job_report, "REPORT_S", 0.05)
    monkeypatch.setattr(job_report, "BEAT_S", 0.1)
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def run(server: Server) -> dict[str, Any]:
    flow = server.post("flows/", name="genai-job")
    found: dict[str, Any] = server.post("flow_runs/", flow_id=flow["id"], parameters={"order": "{}"})
    return found


def test_a_job_whose_run_was_deleted_at_the_server_ends_on_both_sides(
    client: SyncPrefectClient, server: Server, run: dict[str, Any]
) -> None:
    watch, processes, flow_run = Watch(client), Processes(), UUID(run["id"])
    with Report(Api(server.url), run).sent(processes) as report:
        seen = watch.add(flow_run)
        wait_for(lambda: seen.report, SOON)
        for number in range(3):
            report.line(f"line {number}")
        wait_for(lambda: seen.report["lines"] == 3, SOON)
        assert watch.new_lines(flow_run, seen) == ["line 0", "line 1", "line 2"]
        assert not seen.has_ended
        assert not processes.stopping
        client.delete_flow_run(flow_run)
        wait_for(lambda: seen.has_ended and processes.stopping, SOON)
    assert seen.is_deleted
    watch.close()
    of_run = {"resource": {"id": [f"prefect.flow-run.{run['id']}"]}, "event": {"name": ["prefect.flow-run.heartbeat"]}}
    wait_for(lambda: server.post("events/filter", filter=of_run)["events"], SOON)


def test_the_time_of_a_request_that_was_repeated_is_no_silence_of_a_worker(
    client: SyncPrefectClient, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's client repeats a request while the server is away."""
    for slow_s, is_silent in ((pool_watch.SLOW_S, True), (0.0, False)):
        monkeypatch.setattr(pool_watch, "SLOW_S", slow_s)
        asked, watch = list[int](), Watch(client)
        monkeypatch.setattr(watch, "_ask", lambda runs, s, ask=watch._ask, asked=asked: (ask(runs, s), asked.append(1)))
        seen = watch.add(UUID(run["id"]))
        wait_for(lambda asked=asked: len(asked) > 3, SOON)  # type: ignore[misc]
        watch.close()
        assert (seen.silent_s > 0.0) is is_silent


def test_of_two_reports_of_a_run_the_one_that_is_kept_up_to_date_counts(
    client: SyncPrefectClient, server: Server, run: dict[str, Any]
) -> None:
    """The answer to the first one's creation was lost. The server's own order is that of their ids, drawn at random."""
    api, watch, outcome = Api(server.url), Watch(client), Outcome("k", 1)
    reports = [Report(api, run), Report(api, run)]
    while reports[-1]._artifact == min(report._artifact for report in reports):  # it would come last anyway
        reports.append(Report(api, run))
    reports[-1].end(outcome)
    seen = watch.add(UUID(run["id"]))
    wait_for(lambda: seen.report, SOON)
    watch.close()
    assert seen.report["outcome"] == outcome.text()


def test_a_run_without_a_state_is_being_deleted() -> None:
    class Deleting:
        def get(self, _path: str) -> Any:
            return {"id": "one", "state": None}

    assert job_report.state_of(Deleting(), "one") is None  # type: ignore[arg-type]


class Slow:
    """A server that takes long for the first report, and does not take a line."""

    def __init__(self) -> None:
        self.arrived: list[Any] = []
        self.first_sent, self.go_on = threading.Event(), threading.Event()

    def post(self, *_path: str, **_body: Any) -> Any:
        return {"id": "artifact"}

    def post_all(self, path: str, _items: Any) -> None:
        if path == "logs/":
            raise ApiError("http://server", "status 413", 413)

    def patch(self, _path: str, data: dict[str, Any]) -> None:
        if not self.first_sent.is_set():
            self.first_sent.set()
            self.go_on.wait(0.5)
        self.arrived.append((data["outcome"], data["lines"]))


def test_neither_an_older_report_nor_a_line_holds_up_the_outcome(
    client: SyncPrefectClient, run: dict[str, Any]
) -> None:
    slow, outcome = Slow(), Outcome("k", 1)
    report = Report(slow, run)  # type: ignore[arg-type]
    with report.sent(Processes()):
        report.waits("for a GPU")
        assert slow.first_sent.wait(SOON)
        report.line("x" * 10)
        report.end(outcome)
    assert slow.arrived == [(None, 0), (outcome.text(), 0)]


def _progress(done: int) -> dict[str, Any]:
    return {"phase": "train", "done": done, "total": 9, "unit": "images", "per_second": 1.0, "seconds_left": 1.0}


def test_progress_becomes_rare_but_not_what_somebody_waits_for(
    client: SyncPrefectClient, server: Server, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_report, "BEAT_S", 1e6)
    watch, report = Watch(client), Report(Api(server.url), run)
    seen = watch.add(UUID(run["id"]))
    with report.sent(Processes()):
        report.progress(_progress(1))
        wait_for(lambda: seen.report.get("progress"), SOON)
        monkeypatch.setattr(job_report, "progress_pause_s", lambda _passed_s: 1e6)
        report.progress(_progress(2))
        time.sleep(10 * job_report.REPORT_S)
        sent = dict(report._sent)
        report.started(())
        wait_for(lambda: seen.report["gpus"] == [], SOON)
    assert sent["progress"] == _progress(1)
    assert seen.report["progress"] == _progress(2)
    watch.close()


@pytest.mark.parametrize(("passed_s", "pause_s"), [(0.0, 1.0), (10.0, 1.0), (60.0, 3.0), (100.0, 5.0), (1e5, 5.0)])
def test_progress_is_sent_every_twentieth_of_the_time_that_passed(passed_s: float, pause_s: float) -> None:
    assert job_report.progress_pause_s(passed_s) == pause_s
