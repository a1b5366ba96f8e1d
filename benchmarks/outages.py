"""Servers that are away for a while: what is behind a forwarder, and a Prefect server that is killed or stopped."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

START_S = 600.0
_CHUNK_BYTES = 1 << 16


class Forwarder:
    """Passes TCP connections on to a server on this machine. address: where clients reach that server.

    It stands for the network and the server: what the server has stored survives an outage.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._passing = threading.Event()
        self._passing.set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as a server that was killed."""
        self._listener.shutdown(socket.SHUT_RDWR)  # `accept` returns
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Accept connections and answer nothing, as a server that is stopped or a network that loses all packets."""
        self._passing.clear()

    def restore(self) -> None:
        self._passing.set()
        if self._listener.fileno() < 0:
            self._listener = self._listen(self.address)

    def _listen(self, address: tuple[str, int]) -> socket.socket:
        listener = socket.create_server(address, backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._passing.wait()
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            with self._lock:
                self._connections |= {client, server}
            answers = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            answers.start()
            self._pass_on(client, server)
            answers.join()
            with self._lock:
                self._connections -= {client, server}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._passing.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class PrefectServer:
    """A Prefect server with its database in `home`, always on the same port."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            port = own.getsockname()[1]
        self.api = f"http://127.0.0.1:{port}/api"
        self._home = home
        self._command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--no-ui"]
        self._command += ["--port", str(port)]
        self.start()

    def start(self) -> None:
        """Return at once; see `wait`."""
        with (self._home / "log").open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, "PREFECT_HOME": str(self._home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > deadline:
                sys.exit(f"the Prefect server did not start; see {self._home / 'log'}")
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def suspend(self) -> None:
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)
