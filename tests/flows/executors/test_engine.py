"""What the executor of engines makes of what an engine says, which here is written down beforehand."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from flows.data.outputs import StoredOutput
from flows.executors import engine as module
from flows.executors.attempts import MAX_LOST
from flows.executors.dispatch import Dispatch
from flows.executors.engine import EngineAway, EngineExecutor, check_stages
from flows.executors.executor import CommandFailed, JobFailed
from flows.executors.locality import Near
from flows.executors.order import Order, Outcome
from flows.executors.shares import Offer, Share
from flows.executors.software import Software
from flows.graph import Needs, StageNode
from flows.process import Processes, Stopped
from flows.runs.job import Job, Result
from flows.view import LiveView
from genai_core.config import ConfigError
from tests.flows.executors.machines import Heard
from tests.flows.executors.test_pools import compute
from tests.flows.test_view import shown

WORKER = Offer("a", 4, 16.0, 0)
LOST = ["waits for another worker", "lost: it died; another worker gets the job"]


class Written:
    """An engine whose offers and news are written down. Each list of news is of one attempt."""

    start_worker = "Start one: worker"
    places_all_nodes = False

    def __init__(self, offers: Sequence[Sequence[Offer] | EngineAway], news: Sequence[list[Any]] = ()) -> None:
        self._offers, self._news = list(offers), list(news)
        self.orders: list[tuple[Order, Share]] = []
        self.near: list[Sequence[Near]] = []
        self.cancelled = 0

    def offers(self) -> Sequence[Offer]:
        offers = self._offers.pop(0) if len(self._offers) > 1 else self._offers[0]
        if isinstance(offers, EngineAway):
            raise offers
        return offers

    def left(self) -> dict[str, tuple[Order, "Written"]]:
        return {}

    def submit(self, order: Order, share: Share, near: Sequence[Near] = ()) -> "Written":
        self.orders.append((order, share))
        self.near.append(near)
        return self

    def news(self, _timeout_s: float) -> Sequence[Sequence[Any]]:
        if not self._news:
            return []
        return [self._news.pop(0)]

    def cancel(self) -> None:
        self.cancelled += 1


class Ordered(Dispatch):
    """Counts attempts; nothing is sent anywhere. left: the result that each lost attempt left, so far asked for."""

    def __init__(self, left: Sequence[Result | None] = ()) -> None:
        self._count, self._left = 0, list(left)

    def known(self, _job: Job, _say: Callable[[str], None]) -> Result | None:
        return self._left.pop(0) if self._left else None

    def order(self, _stage: StageNode, job: Job, _say: Callable[[str], None]) -> Order:
        self._count += 1
        return Order(replace(job, attempt=self._count), "", "", "", (), {}, Software("", "", {}))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OFFERS_POLL_S", 0.0)


def stage(cores: int) -> StageNode:
    return StageNode("prepare", "", "python work.py", Needs(cores=cores), ())


def executed(engine: Written, processes: Processes | None = None, dispatch: Dispatch | None = None) -> Heard:
    """Execute the stage `prepare`; an error is raised with what was heard as its note."""
    heard = Heard()
    executor = EngineExecutor(engine, dispatch or Ordered(), processes or Processes(), compute())
    try:
        executor.execute(stage(2), Job("one", "commit", "prepare", {}), heard)
    except (JobFailed, Stopped) as error:
        error.add_note("\n".join(heard.lines))
        raise
    return heard


def test_a_lost_worker_is_another_attempt_until_there_were_ten() -> None:
    engine = Written([[WORKER]], [["line", "begins"], *[["lost", "it died"]] * MAX_LOST])
    with pytest.raises(JobFailed, match=r"10 workers were lost, 10 of them before .* so: it died\n") as failure:
        executed(engine)
    assert not isinstance(failure.value, CommandFailed)
    assert not failure.value.retryable
    assert failure.value.__notes__[0].split("\n") == ["begins", *LOST * 10]
    assert [order.job.attempt for order, _ in engine.orders] == list(range(1, 11))
    assert {share for _, share in engine.orders} == {Share(2, 0.0, 0, None)}


def test_a_command_that_most_workers_do_not_survive_is_at_fault() -> None:
    """An engine that ends a worker for its memory seldom says so. With other values it may fit."""
    for begun, is_fault in ((6, True), (5, False)):
        dies: list[list[Any]] = [["started", []], ["lost", "ended as OUT_OF_MEMORY"]]
        absent = [["lost", "its node is gone"]]
        engine = Written([[WORKER]], [*absent * (MAX_LOST - begun), *dies * begun])
        with pytest.raises(JobFailed, match=r"10 workers were lost, .* so: ended as OUT_OF_MEMORY") as failure:
            executed(engine)
        assert isinstance(failure.value, CommandFailed) == is_fault
        assert ("6 of them while they ran it" in str(failure.value)) == is_fault
        assert ("raise meta.memory_gb" in str(failure.value)) == is_fault
        assert not failure.value.retryable


def test_a_terminal_shows_what_was_lost_in_place_of_the_bar() -> None:
    view = LiveView(["prepare"])

    class Shown(Heard):
        def waits(self, why: str) -> None:
            view.waits("prepare", why)

        def started(self, gpus: tuple[str, ...]) -> None:  # noqa: ARG002
            view.started("prepare")

        def line(self, text: str) -> None:
            view.line("prepare", text)

        def progress(self, state: dict[str, Any]) -> None:
            view.progress("prepare", state)

    half = {"phase": "train", "done": 1, "total": 2, "unit": "images"}
    news = [["started", []], ["progress", half], ["lost", "it died."], ["broken", "the end of this test"]]
    executor = EngineExecutor(Written([[WORKER]], news), Ordered(), Processes(), compute())
    with pytest.raises(JobFailed, match="the end of this test"):
        executor.execute(stage(2), Job("one", "commit", "prepare", {}), Shown())
    (row,) = shown(view)
    assert row.endswith("lost: it died; another worker gets the job")


def test_a_job_that_no_worker_can_start_has_no_advice_about_memory() -> None:
    why = "Failed to submit flow run to infrastructure: ImageNotFound: no such image"  # as a worker of Prefect says it
    engine = Written([[WORKER]], [["lost", why]] * MAX_LOST)
    with pytest.raises(JobFailed, match=r"no worker could start it, in 10 attempts\. .*: no such image"):
        executed(engine)


def test_a_training_that_lost_one_of_its_machines_is_another_attempt() -> None:
    lost = Outcome("", 1, failure="machine 2 of 2 (beta) is gone", is_lost=True).text()
    engine = Written([[WORKER]], [["outcome", lost], ["broken", "the end of this test"]])
    with pytest.raises(JobFailed, match="the end of this test") as failure:
        executed(engine)
    said, line = failure.value.__notes__[0].split("\n")
    assert said == "waits for its machines"
    assert line == "lost: machine 2 of 2 (beta) is gone; the training starts again from its last checkpoint"
    assert len(engine.orders) == 2


def test_a_result_of_an_earlier_coordinator_needs_no_attempt() -> None:
    job = Job("one", "commit", "prepare", {})
    engine, result = Written([[WORKER]]), Result(job, {}, ran=True)
    executor = EngineExecutor(engine, Ordered([result]), Processes(), compute())
    assert executor.execute(stage(2), job, Heard()) is result
    assert engine.orders == []


def test_a_worker_that_was_lost_after_its_result_was_complete_is_not_repeated() -> None:
    job = Job("one", "commit", "prepare", {})
    engine, dispatch = Written([[WORKER]], [["lost", "it died"]]), Ordered([None, Result(job, {}, ran=True)])
    assert executed(engine, dispatch=dispatch).lines == LOST
    assert len(engine.orders) == 1


def test_a_job_whose_events_cannot_be_written_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Heard, _text: str) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Heard, "line", full)
    engine = Written([[WORKER]], [["line", "begins"]])
    with pytest.raises(OSError, match="no space"):
        executed(engine)
    assert engine.cancelled == 1


def test_a_job_should_go_where_the_one_before_has_fetched_its_inputs() -> None:
    class Reading(Ordered):
        def order(self, stage: StageNode, job: Job, say: Callable[[str], None]) -> Order:
            return replace(super().order(stage, job, say), reads=(StoredOutput("data/raw", "a.dir", 2_000_000),))

        def size_of(self, output: StoredOutput) -> int:
            return output.size_bytes or 0

    def at(worker: str) -> list[Any]:
        return ["placed", {"worker": worker, "host": f"host of {worker}", "home": "/cache"}]

    news: list[list[Any]] = [at("a"), ["started", []], ["lost", "it died"], at("b"), ["broken", "the end of this test"]]
    engine = Written([[WORKER, replace(WORKER, name="b")]], news)
    with pytest.raises(JobFailed, match="the end of this test") as failure:
        executed(engine, dispatch=Reading())
    assert engine.near == [(), (Near("a", 2_000_000, "host of a"),)]
    assert failure.value.__notes__[0].split("\n") == [
        *LOST,
        "placed on host of b, which has 0.0 kB of 2.0 MB to read; host of a has 2.0 MB, but no room",
    ]


def test_what_a_worker_could_not_run_is_a_failure() -> None:
    with pytest.raises(JobFailed, match="its worker could not run it: no module") as failure:
        executed(Written([[WORKER]], [["broken", "no module"]]))
    assert failure.value.retryable


def test_it_waits_for_a_worker_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_WORKER_S", -1.0)
    small = Offer("small", 1, 16.0, 0)
    for offers, said in (
        ([[], [], [WORKER]], "waits for a worker: there is none. Start one: worker"),
        ([[small], [small], [WORKER]], "waits for a worker: dvc.yaml: prepare needs 2 cores, .* 1 with 1 cores"),
        ([EngineAway("no answer"), EngineAway("no answer"), [WORKER]], "waits no answer"),
    ):
        with pytest.raises(JobFailed, match="could not run it") as failure:
            executed(Written(offers, [["broken", ""]]))
        (line,) = failure.value.__notes__[0].split("\n")
        assert re.search(said, line)
    monkeypatch.setattr(module, "AWAY_S", -1.0)
    with pytest.raises(JobFailed, match="no answer"):
        executed(Written([EngineAway("no answer")]))


def test_a_stop_cancels_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    processes, engine = Processes(), Written([[WORKER]])
    monkeypatch.setattr(engine, "news", lambda _: processes.stop() or [])
    with pytest.raises(Stopped):
        executed(engine, processes)
    assert engine.cancelled == 1
    with pytest.raises(Stopped, match="before this stage began"):
        executed(Written([[]]), processes)


def test_stages_are_checked_before_a_run_if_there_are_workers() -> None:
    huge = stage(5)
    check_stages(Written([[]]), [huge], compute())
    with pytest.raises(ConfigError, match="prepare needs 5 cores"):
        check_stages(Written([[WORKER]]), [huge], compute())
    with pytest.raises(ConfigError, match="no answer"):
        check_stages(Written([EngineAway("no answer")]), [huge], compute())
