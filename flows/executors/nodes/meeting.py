"""The first machine of a training on several: it waits for the others, and ends with each of them.

A machine that wants to join connects, and shows that it has the attempt's secret. When all are there, each gets the
port at which the training's own processes find each other. From then on, the first machine stops its command if one of
the others is gone, and the attempt has to be repeated: the training goes on from its last checkpoint.
"""

import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from flows.executors.executor import JobFailed, Listener, failed_with
from flows.executors.nodes.talk import POLL_S, Talk, node_variables, own_addresses, proof
from flows.executors.order import Node
from flows.process import Processes, Stopped
from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION
from genai_core.counted import counted

GATHER_S = 600.0
ANSWER_S = 10.0
LAST_WORDS_S = 15.0  # from the end of one node's command to the end of the others'


class NodeLost(Exception):
    """A machine of the training is gone, or did not come: the attempt has to be repeated."""


class Meeting:
    """Where the others come to. node: of the first machine. `where` is for them."""

    def __init__(self, node: Node, processes: Processes) -> None:
        self._node, self._processes = node, processes
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self._door = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
        self._changed = threading.Condition()
        self._present: dict[int, Talk] = {}
        self._hosts: dict[int, str] = {}
        self._statuses: dict[int, int] = {}  # of the commands of others that have ended by themselves
        self._has_begun = self._is_over = False
        self._lost = ""
        self._waited_for: int | None = None  # whose command had failed, while the one here went on
        self.where = {"addresses": list(own_addresses()), "port": self._door.getsockname()[1]}
        threading.Thread(target=self._receive, daemon=True).start()

    @contextmanager
    def together(self, listener: Listener) -> Iterator[Mapping[str, str]]:
        """Wait for the others; the variables for the command here. Afterwards wait for the ends of their commands.

        Raises NodeLost, Stopped, and CommandFailed or JobFailed if a command failed, here or there.
        """
        try:
            yield self._gathered(listener)
        except Stopped:
            self._raise_fault()
            raise
        except JobFailed:
            self._await_last_words()
            self._raise_fault()
            raise
        else:
            self._await_last_words()
        finally:
            self._close()

    def _gathered(self, listener: Listener) -> Mapping[str, str]:
        # At random: of two trainings that wait for each other's machines, one gives up first.
        limit_s = GATHER_S * random.uniform(0.8, 1.2)
        deadline, told = time.monotonic() + limit_s, 0
        with self._changed:
            while missing := self._node.count - 1 - len(self._present):
                if self._processes.stopping:
                    raise Stopped("stopped on request")
                if time.monotonic() > deadline:
                    raise NodeLost(
                        f"{counted(missing, 'machine')} of {self._node.count} did not come within {limit_s / 60:.0f} "
                        "minutes, so the others were freed"
                    )
                if missing != told:
                    told = missing
                    listener.waits(f"for {counted(missing, 'more worker')} to train on {self._node.count} machines")
                self._changed.wait(0.5)
            self._has_begun = True
            port = _free_port()
            for talk in self._present.values():
                talk.say(port=port)
            talk = self._present[1]
        return node_variables(0, talk, talk.here, port)

    def _receive(self) -> None:
        self._door.settimeout(POLL_S)  # a close would not wake this thread
        while not self._is_over:
            with suppress(OSError):
                connection, _ = self._door.accept()
                threading.Thread(target=self._greet, args=(Talk(connection),), daemon=True).start()
        self._door.close()

    def _greet(self, talk: Talk) -> None:
        deadline, challenge = time.monotonic() + ANSWER_S, secrets.token_hex(16)
        talk.say(challenge=challenge)
        answer = talk.heard(lambda: self._is_over or time.monotonic() > deadline) or {}
        rank = answer.get("rank")
        shown = str(answer.get("proof")).encode()
        is_one_of_us = secrets.compare_digest(shown, proof(self._node.secret, f"{challenge} {rank}").encode())
        if not (is_one_of_us and isinstance(rank, int)) or not self._admitted(rank, talk, str(answer.get("host"))):
            talk.close()
            return
        while heard := talk.heard(lambda: self._is_over):
            self._take_status(rank, heard)
        self._leave(rank, talk)

    def _admitted(self, rank: int, talk: Talk, host: str) -> bool:
        """Whether a machine may stay. Until all are there, it replaces one of its rank, which is given up."""
        with self._changed:
            if self._is_over or self._has_begun or not 0 < rank < self._node.count:
                return False
            if rank in self._present:
                self._present[rank].close()
            self._present[rank], self._hosts[rank] = talk, host
            self._changed.notify_all()
            return True

    def _take_status(self, rank: int, heard: Mapping[str, Any]) -> None:
        status = heard.get("status")
        if not isinstance(status, int):
            return
        with self._changed:
            self._statuses[rank] = status
            self._changed.notify_all()
        if status != 0:  # the command here ends by itself, too, unless it waits for that one for ever
            timer = threading.Timer(LAST_WORDS_S, self._stop_waiting, (rank,))
            timer.daemon = True
            timer.start()

    def _leave(self, rank: int, talk: Talk) -> None:
        with self._changed:
            if self._is_over or rank in self._statuses or self._present.get(rank) is not talk:
                return
            if self._has_begun:
                self._lost = self._lost or f"{self._named(rank)} is gone"
                self._processes.stop()
            else:
                self._present.pop(rank).close()
            self._changed.notify_all()

    def _stop_waiting(self, rank: int) -> None:
        with self._changed:
            if not (self._is_over or self._processes.stopping):
                self._waited_for = rank
                self._processes.stop()

    def _await_last_words(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._lost) or len(self._statuses) == len(self._present), LAST_WORDS_S)

    def _raise_fault(self) -> None:
        """Raise what ended the training, if it was another machine."""
        if self._lost:
            raise NodeLost(self._lost) from None
        for rank, status in self._statuses.items():
            if status in (NEEDS_MANUAL_ACTION, MACHINE_FAULT):  # the others only lost it
                raise failed_with(status, f" on {self._named(rank)}") from None
        if self._waited_for is not None:
            raise failed_with(self._statuses[self._waited_for], f" on {self._named(self._waited_for)}") from None

    def _named(self, rank: int) -> str:
        return f"machine {rank + 1} of {self._node.count} ({self._hosts[rank]})"

    def _close(self) -> None:
        with self._changed:
            self._is_over = True
            talks = list(self._present.values())
        for talk in talks:
            talk.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        port: int = free.getsockname()[1]
        return port
