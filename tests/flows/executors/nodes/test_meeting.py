"""How the machines of a training find each other, and end with each other. All are threads here."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from flows.executors.executor import CommandFailed, JobFailed
from flows.executors.nodes import joining, meeting
from flows.executors.nodes.joining import Joined, joined
from flows.executors.nodes.meeting import Meeting, NodeLost
from flows.executors.order import Node
from flows.process import Processes, Stopped
from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION
from tests.flows.conftest import wait_for
from tests.flows.executors.machines import Heard

FIRST = Node(0, 3, "secret")
SOON = 10.0


class Machine:
    """A machine that joins, in a thread. It stays until `end`, or until its processes are stopped."""

    def __init__(self, node: Node) -> None:
        self.processes = Processes()
        self.variables: Mapping[str, str] = {}
        self.error: BaseException | None = None
        self._ended, self._status = threading.Event(), 0
        self._joined: Joined | None = None
        self._thread = threading.Thread(target=self._run, args=(node,), daemon=True)
        self._thread.start()

    def end(self, status: int) -> None:
        """Its command has ended."""
        wait_for(lambda: self._joined is not None, SOON)
        assert self._joined is not None
        self._joined.ended(status)

    def gone(self) -> None:
        self._ended.set()
        self._thread.join(SOON)

    def _run(self, node: Node) -> None:
        try:
            with joined(node, self.processes) as self._joined:
                self.variables = self._joined.variables
                self._ended.wait(SOON)
        except BaseException as error:
            self.error = error


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "LAST_WORDS_S", 0.3)
    monkeypatch.setattr(meeting, "POLL_S", 0.05)


@pytest.fixture
def first() -> Iterator[Meeting]:
    opened = Meeting(FIRST, Processes())
    yield opened
    opened._close()


def other(first: Meeting, rank: int, **changes: Any) -> Node:
    """The order's part for another machine."""
    place = {"addresses": tuple(first.where["addresses"]), "port": first.where["port"]}
    return replace(FIRST, **{"rank": rank, **place, **changes})


def trained(first: Meeting, processes: Processes, command: Callable[[list[Machine]], None]) -> list[Machine]:
    """Two others come, and the command runs here."""
    first._processes = processes
    machines = [Machine(other(first, rank)) for rank in (2, 1)]
    with first.together(Heard()) as variables:
        wait_for(lambda: all(machine.variables for machine in machines), SOON)
        assert variables["NODE_RANK"] == "0"
        command(machines)
    return machines


def test_all_find_the_first_one_and_end_with_it(first: Meeting) -> None:
    def command(machines: list[Machine]) -> None:
        for machine in machines:
            machine.end(0)

    machines = trained(first, Processes(), command)
    ports = {machine.variables["MASTER_PORT"] for machine in machines}
    assert len(ports) == 1
    assert ports != {str(first.where["port"])}
    assert [machine.variables["NODE_RANK"] for machine in machines] == ["2", "1"]
    assert all(machine.variables["MASTER_ADDR"] in first.where["addresses"] for machine in machines)
    assert {machine.variables["GLOO_SOCKET_IFNAME"] for machine in machines} != {""}
    for machine in machines:  # what the first one's end stops, if it still works
        wait_for(partial(getattr, machine.processes, "stopping"), SOON)


def test_it_says_how_many_it_waits_for_and_knows_its_own(first: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "GATHER_S", 1.0)
    stranger, given_up = Machine(other(first, 1, secret="another")), Machine(other(first, 2))
    outsider = Machine(other(first, 7))
    wait_for(lambda: stranger.error and outsider.error and len(first._present) == 1, SOON)
    second = Machine(other(first, 2))  # its worker was given up, but lives
    wait_for(partial(getattr, given_up, "error"), SOON)
    assert second.error is None
    heard = Heard()
    with pytest.raises(NodeLost, match="1 machine of 3 did not come within 0 minutes"), first.together(heard):
        pass
    assert heard.lines == ["waits for 1 more worker to train on 3 machines"]
    for refused in (stranger, outsider, given_up, second):
        wait_for(partial(getattr, refused, "error"), SOON)
        assert isinstance(refused.error, NodeLost)
        assert "the first machine of the training has ended, or another one is in place" in str(refused.error)


def test_a_machine_that_is_gone_stops_the_first_and_the_attempt_is_lost(first: Meeting) -> None:
    processes = Processes()

    def command(machines: list[Machine]) -> None:
        machines[0].gone()
        wait_for(lambda: processes.stopping, SOON)
        raise Stopped("stopped on request")

    with pytest.raises(NodeLost, match=r"machine 3 of 3 \(.+\) is gone"):
        trained(first, processes, command)


@pytest.mark.parametrize(("status", "kind"), [(NEEDS_MANUAL_ACTION, CommandFailed), (MACHINE_FAULT, JobFailed)])
def test_a_command_that_fails_elsewhere_fails_the_stage(first: Meeting, status: int, kind: type[JobFailed]) -> None:
    """Here it fails, too, since a machine is missing there; or it waits for ever, and is stopped."""

    def fails(machines: list[Machine]) -> None:
        machines[0].end(status)
        machines[1].end(1)
        raise CommandFailed("status 1")

    with pytest.raises(JobFailed, match=rf"status {status} on machine 3 of 3 \(.+\)") as failure:
        trained(first, Processes(), fails)
    assert type(failure.value) is kind
    assert failure.value.retryable == (kind is JobFailed)


def test_a_command_that_waits_for_a_failed_one_is_stopped(first: Meeting) -> None:
    processes = Processes()

    def waits_for_ever(machines: list[Machine]) -> None:
        machines[0].end(1)
        wait_for(lambda: processes.stopping, SOON)
        raise Stopped("stopped on request")

    with pytest.raises(CommandFailed, match=r"status 1 on machine 3 of 3 \(.+\)"):
        trained(first, processes, waits_for_ever)


def test_a_first_machine_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "TRIES_S", -1.0)
    node = Node(1, 2, "secret", ("127.0.0.1",), 9)
    with (
        pytest.raises(NodeLost, match=r"cannot reach the first machine of the training at port 9 of 127\.0\.0\.1"),
        joined(node, Processes()),
    ):
        pass
    assert "secret" not in repr(node)


def test_a_connection_on_which_bytes_trickle_in_is_cut(first: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "ANSWER_S", 0.2)
    with socket.create_connection(("127.0.0.1", first.where["port"]), timeout=SOON) as connection:

        def is_cut() -> bool:
            try:
                connection.send(b"x")
            except ConnectionError:
                return True
            return False

        wait_for(is_cut, SOON)
