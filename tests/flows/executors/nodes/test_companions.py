"""What the coordinator does for a job on several machines. The engine is written down here."""

import threading
import time
from dataclasses import replace

import pytest

from flows.executors.attempts import Lost
from flows.executors.executor import JobFailed
from flows.executors.nodes import companions as module
from flows.executors.nodes.companions import Companions, Other, Turns
from flows.executors.order import Node, Order, Outcome, order_from
from flows.executors.software import Software
from flows.process import Processes
from flows.runs.job import Job
from tests.flows.conftest import wait_for
from tests.flows.executors.machines import Heard

ORDER = Order(Job("one", "commit", "train", {}), "", "", "", (), {}, Software("", "", {}), Node(0, 3, "secret"))
WHERE = {"addresses": ["10.0.0.1", "127.0.0.1"], "port": 4711}
SOON = 10.0


def test_the_other_machines_get_the_same_order_and_end_with_the_first() -> None:
    orders: list[Order] = []
    heard, freed = Heard(), []

    def execute(order: Order, other: Other) -> Outcome:
        orders.append(order_from(order.text()))
        assert order.node is not None
        if order.node.rank == 2:  # no worker is free
            other.waits("for a free worker")
            try:
                check_for_ever(other)
            finally:
                freed.append(2)
        other.started(())
        other.line("fetched 3 objects")
        if [one.node.rank for one in orders if one.node].count(1) == 1:
            raise Lost("its process died")
        return Outcome("", 1, ran=True)

    with Companions(heard, 3, Turns(), Processes(), execute) as companions:
        companions.begin(ORDER)
        companions.meets(WHERE)
        companions.meets(WHERE)  # a report that is read again
        wait_for(lambda: len(orders) == 3 and len(heard.lines) == 4, SOON)
        companions.check()
    assert freed == [2]
    assert sorted(order.node.rank for order in orders if order.node) == [1, 1, 2]
    assert {replace(order, node=None) for order in map(hashable, orders)} == {hashable(replace(ORDER, node=None))}
    assert {order.node.addresses for order in orders if order.node} == {("10.0.0.1", "127.0.0.1")}
    assert sorted(set(heard.lines)) == [
        "machine 2 of 3: fetched 3 objects",
        "machine 2 of 3: lost: its process died; another worker gets its part",
        "waits for a free worker, as machine 3 of 3",
    ]


def check_for_ever(listener: Companions | Other) -> None:
    while True:
        listener.check()
        time.sleep(0.01)


def hashable(order: Order) -> Order:
    return replace(order, job=replace(order.job, inputs=()), variables=(), software=None)  # type: ignore[arg-type]


def test_a_machine_that_cannot_take_part_fails_the_stage() -> None:
    def execute(_order: Order, _other: Other) -> Outcome:
        return Outcome("", 1, failure="on beta: this machine has torch 2.1", retryable=False)

    def attempt() -> None:
        with Companions(Heard(), 2, Turns(), Processes(), execute) as companions:
            companions.begin(replace(ORDER, node=Node(0, 2, "secret")))
            companions.meets(WHERE)
            check_for_ever(companions)

    with pytest.raises(JobFailed, match=r"machine 2 of 2: on beta: this machine has torch 2\.1") as failure:
        attempt()
    assert not failure.value.retryable


def test_a_lost_machine_is_not_replaced_once_the_training_runs() -> None:
    calls: list[Order] = []

    def execute(order: Order, _other: Other) -> Outcome:
        calls.append(order)
        wait_for(lambda: companions._has_begun, SOON)
        raise Lost("its node is gone")

    heard = Heard()
    with Companions(heard, 2, Turns(), Processes(), execute) as companions:
        companions.begin(replace(ORDER, node=Node(0, 2, "secret")))
        companions.meets(WHERE)
        companions.started(())
    assert (len(calls), heard.lines) == (1, [])


def test_workers_that_do_not_reach_the_first_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOST", 2)
    heard = Heard()

    def attempt() -> None:
        unreachable = Outcome("", 1, failure="beta cannot reach the first machine", is_lost=True)
        with Companions(heard, 2, Turns(), Processes(), lambda _order, _other: unreachable) as companions:
            companions.begin(replace(ORDER, node=Node(0, 2, "secret")))
            companions.meets(WHERE)
            check_for_ever(companions)

    with pytest.raises(JobFailed, match="machine 2 of 2: 2 workers were lost, the last one so: beta cannot reach"):
        attempt()
    assert set(heard.lines) == {
        "machine 2 of 2: lost: beta cannot reach the first machine; another worker gets its part"
    }


def test_one_training_at_a_time_waits_for_its_machines() -> None:
    """Two that have a worker each, and wait for the other's, would wait for ever."""
    turns, processes, heard = Turns(), Processes(), Heard()
    begun, over = threading.Event(), threading.Event()

    def none(_order: Order, _other: Other) -> Outcome:
        raise AssertionError

    def second() -> None:
        with Companions(heard, 2, turns, processes, none):
            begun.set()
        over.set()

    with Companions(Heard(), 2, turns, processes, none) as first:
        thread = threading.Thread(target=second)
        thread.start()
        with Companions(Heard(), 1, turns, processes, none):  # on one machine: it waits for nobody
            pass
        wait_for(lambda: heard.lines, SOON)
        assert not begun.is_set()
        first.started(())  # all are there: it works
        wait_for(begun.is_set, SOON)
    thread.join(SOON)
    assert over.is_set()
    assert heard.lines == ["waits for another training of this run to have all of its machines"]
