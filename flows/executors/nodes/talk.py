"""A connection between two machines of one training: lines of JSON. It lasts as long as the training does there.

Its end is the end of the other machine's part. If that machine is gone without a word, the system notices within a
minute (TCP keepalive).
"""

import hashlib
import hmac
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

POLL_S = 0.5
MAX_LINE_BYTES = 65_536
# Seconds to the first question whether the other one is there, between two of them, and how many have no answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}
_MAPPED = "::ffff:"  # before an IPv4 address of a socket for both kinds


class Talk:
    """One end of a connection. here, there: its addresses."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._pending = connection, b""
        self._lock = threading.Lock()
        self.here = str(connection.getsockname()[0]).removeprefix(_MAPPED)
        self.there = str(connection.getpeername()[0]).removeprefix(_MAPPED)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(POLL_S)

    def say(self, **values: Any) -> None:
        """Send a line. If the other end is gone, nothing happens: `heard` tells."""
        with suppress(OSError), self._lock:
            self._connection.sendall(json.dumps(values).encode() + b"\n")

    def heard(self, is_over: Callable[[], bool]) -> dict[str, Any] | None:
        """Wait for the next line. None: the other end is gone, it said something else, or `is_over` became true."""
        while b"\n" not in self._pending:
            if is_over():  # also if something comes, byte by byte
                return None
            try:
                received = self._connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                return None
            if not received or len(self._pending) > MAX_LINE_BYTES:
                return None
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        with suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict):
                return values
        return None

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # it wakes whoever waits in `heard`
        self._connection.close()


def proof(secret: str, challenge: str) -> str:
    """What only a machine that has the secret can answer to a challenge."""
    return hmac.new(secret.encode(), challenge.encode(), hashlib.sha256).hexdigest()


def own_addresses() -> tuple[str, ...]:
    """The addresses of this machine, those that only itself reaches last."""
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6) and not entry.address.startswith("fe80")
    ]
    return tuple(sorted(dict.fromkeys(found), key=_is_loopback))


def node_variables(rank: int, talk: Talk, first: str, port: int) -> dict[str, str]:
    """The variables by which a training's processes on this machine find the first one.

    first: its address. Gloo and NCCL use the network that the talk uses, unless the user chose one: gloo takes the one
    of the machine's own name otherwise, which may be the loopback.
    """
    found = {"MASTER_ADDR": first, "MASTER_PORT": str(port), "NODE_RANK": str(rank)}
    for interface, entries in psutil.net_if_addrs().items():
        if talk.here in [entry.address for entry in entries]:
            own = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}
            return {**{name: os.environ.get(name, value) for name, value in own.items()}, **found}
    return found


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
