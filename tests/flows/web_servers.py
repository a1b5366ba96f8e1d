"""Small servers on loopback that answer as a test wants, and keep what they were sent."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Got:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Site:
    """A server's port and the received requests. statuses: of the answers; the last one repeats."""

    port: int
    statuses: list[int]
    got: list[Got] = field(default_factory=list)


@contextmanager
def site(*statuses: int, body: bytes = b"null", location: str | None = None) -> Iterator[Site]:
    """An HTTP server. location: the target of its redirects (3xx)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
            found.got.append(Got(self.command, self.path, dict(self.headers), content))
            self.send_response(found.statuses.pop(0) if len(found.statuses) > 1 else found.statuses[0])
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Site(server.server_port, list(statuses or (200,)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def no_http(says: bytes = b"SSH-2.0-OpenSSH_9.2\r\n") -> Iterator[int]:
    """The port of a server that does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = sock.accept()
                    with connection:
                        connection.sendall(says)
                        connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()
