"""Another machine of a training on several: it joins the first one, and ends with it."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from flows.executors.nodes.meeting import NodeLost
from flows.executors.nodes.talk import Talk, node_variables, proof
from flows.executors.order import Node
from flows.process import Processes, Stopped

CONNECT_S = 5.0  # to one address, and for its first word; several may lead nowhere from here
TRIES_S = 60.0


@dataclass(frozen=True)
class Joined:
    """variables: for the command here."""

    variables: Mapping[str, str]
    _talk: Talk

    def ended(self, status: int) -> None:
        """Tell the first machine that the command has ended by itself."""
        self._talk.say(status=status)


@contextmanager
def joined(node: Node, processes: Processes) -> Iterator[Joined]:
    """Join the first machine, and wait until all are there. In the body, its end stops the processes here.

    Raises NodeLost if it cannot be reached, is gone or wants no other machine, and Stopped.
    """
    talk, is_over = _connected(node, processes), threading.Event()
    try:
        told = talk.heard(lambda: processes.stopping)
        if processes.stopping:
            raise Stopped("stopped on request")
        if told is None:
            raise NodeLost("the first machine of the training has ended, or another one is in place of this")
        threading.Thread(target=_stop_at_its_end, args=(talk, is_over, processes), daemon=True).start()
        yield Joined(node_variables(node.rank, talk, talk.there, int(told["port"])), talk)
    finally:
        is_over.set()
        talk.close()


def _connected(node: Node, processes: Processes) -> Talk:
    deadline = time.monotonic() + TRIES_S
    while not processes.stopping:
        for address in node.addresses:
            with suppress(OSError):
                talk = Talk(socket.create_connection((address, node.port), timeout=CONNECT_S))
                asked = _first_word(talk)
                if challenge := asked.get("challenge"):
                    shown = proof(node.secret, f"{challenge} {node.rank}")
                    talk.say(rank=node.rank, proof=shown, host=socket.gethostname())
                    return talk
                talk.close()
        if time.monotonic() > deadline:
            raise NodeLost(
                f"{socket.gethostname()} cannot reach the first machine of the training at port {node.port} of "
                f"{', '.join(node.addresses)}; machines that train together must reach each other at all ports"
            )
        time.sleep(1.0)
    raise Stopped("stopped on request")


def _first_word(talk: Talk) -> Mapping[str, Any]:
    """Empty if it does not come: another service may be at that address, and say nothing."""
    deadline = time.monotonic() + CONNECT_S
    return talk.heard(lambda: time.monotonic() > deadline) or {}


def _stop_at_its_end(talk: Talk, is_over: threading.Event, processes: Processes) -> None:
    talk.heard(is_over.is_set)  # it says nothing more
    if not is_over.is_set():
        processes.stop()
