"""A stage on two machines that share no disk: one makes the result, the other runs the command beside it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.local import check_one_machine
from flows.executors.nodes import meeting
from flows.executors.nodes.meeting import NodeLost
from flows.executors.order import Order, Outcome, order_from
from flows.executors.remote_place import execute_order
from flows.graph import Needs
from flows.process import Processes, Stopped
from flows.runs.snapshot import REFS, take_snapshot
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, wait_for
from tests.flows.executors.machines import Heard, connect, node_of, ordered
from tests.flows.runs.places import locked, place_of

pytestmark = DVC_WARNS

SOON = 60.0


class Machine:
    """A worker with a home of its own, in a thread."""

    def __init__(self, order: Order, home: Path) -> None:
        self.heard, self.processes = Heard(), Processes()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(order, home), daemon=True)
        self._thread.start()

    def end(self) -> Outcome | None:
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return self.outcome

    def _work(self, order: Order, home: Path) -> None:
        try:
            self.outcome = execute_order(order, home, self.heard, self.processes)
        except (NodeLost, Stopped) as error:
            self.error = error


@pytest.fixture
def order(fresh: Path) -> Iterator[Order]:
    """The first machine's order of the stage `prepare`."""
    connect(fresh)
    commit = take_snapshot(fresh).commit
    with place_of(fresh) as place, published_snapshot(fresh, "one", commit) as address:
        dispatch = Dispatch(place, address, {"TOY_DIARY": str(fresh.parent / "diary")})
        yield ordered(dispatch, place, "prepare", commit, f"{REFS}one", nodes=2)


def second(first: Machine, order: Order, home: Path) -> Machine:
    """The other machine, as soon as the first one says where it waits."""
    wait_for(lambda: first.heard.places, SOON)
    assert order.node is not None
    (where,) = first.heard.places
    node = replace(order.node, rank=1, addresses=tuple(where["addresses"]), port=where["port"])
    return Machine(order_from(replace(order, node=node).text()), home)


def test_the_first_machine_alone_has_the_result(order: Order, fresh: Path, done: Path) -> None:
    first = Machine(order, fresh.parent / "home-a")
    other = second(first, order, fresh.parent / "home-b")
    outcome, beside = first.end(), other.end()
    assert outcome is not None
    assert (outcome.entry, outcome.ran, outcome.failure) == (locked(done)["prepare"], True, "")
    assert "waits for 1 more worker to train on 2 machines" in first.heard.lines
    assert beside is not None
    assert (beside.entry, beside.ran, beside.failure) == (None, True, "")
    assert "prepare did 1 steps" in other.heard.lines
    assert not any(line.startswith("sent") for line in other.heard.lines)
    starts = [json.loads(line) for line in (fresh.parent / "diary/prepare").read_text().splitlines()]
    assert [entry["what"] for entry in starts].count("start") == 2


def test_a_lost_machine_repeats_the_attempt(order: Order, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "LAST_WORDS_S", 1.0)
    monkeypatch.setenv("TOY", json.dumps({"prepare": {"until": str(fresh.parent / "never")}}))
    first = Machine(order, fresh.parent / "home-a")
    other = second(first, order, fresh.parent / "home-b")
    wait_for(lambda: "prepare begins" in first.heard.lines and "prepare begins" in other.heard.lines, SOON)
    other.processes.stop()  # without a word, as if the machine were gone
    assert (first.end(), other.end()) == (None, None)
    assert isinstance(other.error, Stopped)
    assert isinstance(first.error, NodeLost)
    assert "machine 2 of 2" in str(first.error)
    for home in (fresh.parent / "home-a", fresh.parent / "home-b"):
        assert not list(home.glob("*/jobs/*/checkout"))


def test_one_machine_does_not_do_for_two(fresh: Path) -> None:
    with place_of(fresh) as place:
        training = replace(node_of(place, "train@gan"), needs=Needs(nodes=2))
    with pytest.raises(ConfigError, match=r"train@gan needs 2 machines .* Set compute\.num_nodes to 1"):
        check_one_machine([training])
