"""The Prefect server that a run reports to: the configured one, or a temporary one that ends with the run."""

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from flows.interrupts import deferred_interrupt
from flows.process import Processes, Stopped
from flows.redact import without_secrets
from flows.services.api import UNAUTHORISED, Api, ApiError, api_at
from flows.services.settings import (
    AUTH,
    SERVER_AUTH,
    URL,
    configured_api_url,
    prefect_home,
    server_auth,
)
from flows.services.zombie_runs import HEARTBEAT_S
from flows.web import WebError, send
from genai_core import GenaiError

START_TIMEOUT_S = 300.0  # on a busy machine, a start takes minutes; a server that died is seen at once
MAX_STARTS = 5
_SCRIPT = Path(__file__).with_name("temporary_server.py")


class ServerError(GenaiError):
    """No Prefect server could be reached or started; the message is one line."""


def configured_server() -> str | None:
    """Return the configured server's address, or None. Raises ServerError if that server does not answer."""
    url = configured_api_url()
    if url is not None:
        _check_reachable(api_at(url))
    return url


def ensure_prefect_api(known: str | None = None) -> str:
    """Return the address of the configured server, or start a temporary one that lives as long as this process.

    Prefect can start a temporary server itself, but in our process group and without a lifeline: Ctrl-C would end it
    before the run could report, and a killed run would leave it behind. The credentials of the user's own server are
    set where Prefect's client looks for them. Raises ServerError, SettingsError.

    known: the configured server, if it has just answered: a run that has begun waits for it by itself.
    """
    # Prefect's default is slower than the time after which zombie_runs.py marks a run as crashed.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", f"{HEARTBEAT_S}")
    url = known or configured_server()
    if url is not None:
        if auth := api_at(url).credentials.auth:
            os.environ[AUTH] = auth
        return url
    if "prefect" in sys.modules:
        raise ServerError("prefect was imported before its temporary server was started")
    own = server_auth()
    if own:
        os.environ[AUTH] = own
    server = _TemporaryServer(own)
    with _start_lock():
        server.start()
        # Exit handlers run last in, first out. Importing Prefect, below, registers the one that sends the remaining
        # logs, and that one needs the server.
        atexit.register(server.stop)
        os.environ[URL] = url = server.url()
        # Importing Prefect takes more than a second; the server starts meanwhile.
        with deferred_interrupt():
            import prefect  # noqa: F401

        server.wait_until_healthy(url)
    return url


@contextmanager
def _start_lock() -> Iterator[None]:
    """Start one temporary server at a time: if two create the tables of their shared database, one dies."""
    home = prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "temporary-server.lock", timeout=2 * START_TIMEOUT_S):
            yield
    except Timeout:
        raise ServerError(
            f"another run is still starting a temporary Prefect server in {home}; wait until it ends, then run again"
        ) from None


def _check_reachable(api: Api) -> None:
    """Raise ServerError if no server answers or it rejects the credentials. Prefect reports other errors itself."""
    try:
        api.post("flows/filter", limit=1)
    except ApiError as error:
        if error.status == UNAUTHORISED:
            raise ServerError(str(error)) from None
        if error.status is None:
            raise ServerError(
                f"no Prefect server answers at {without_secrets(api.url)} ({error.reason}); start it, or unset {URL} "
                "for a temporary one (not with executor pool)"
            ) from None


class _TemporaryServer:
    """Prefect's server as a child process with a lifeline. auth: the user:password that it requires, if any.

    If the running server is killed, for example for lack of memory, it is restarted on the same port: without a server,
    Prefect's client waits for minutes at each step of the run. What the run has reported is in Prefect's database.
    """

    def __init__(self, auth: str | None) -> None:
        self._auth = auth
        self._processes = Processes(grace_s=5.0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._lines: list[str] = []
        self._port: int | None = None
        self._said = threading.Event()  # set once the port is known, or the process has ended
        self._ended = False  # the thread that says so is alive for a moment longer
        self._was_up = False
        self._deadline = 0.0  # of the start, by time.monotonic()

    def start(self) -> None:
        self._deadline = time.monotonic() + START_TIMEOUT_S
        self._thread.start()

    def stop(self) -> None:
        self._processes.stop()
        self._thread.join(timeout=10.0)

    def url(self) -> str:
        """Wait for the port. Raises ServerError if the server ends or prints none in time."""
        self._said.wait(max(0.0, self._deadline - time.monotonic()))
        if self._port is None:
            raise self._failure()
        return f"http://127.0.0.1:{self._port}/api"

    def wait_until_healthy(self, url: str) -> None:
        """Raises ServerError if the server does not start in time."""
        while True:
            with suppress(WebError):
                send(f"{url}/health", timeout_s=2.0)
                self._was_up = True
                return
            self._thread.join(timeout=0.1)
            if self._ended or time.monotonic() > self._deadline:
                raise self._failure()

    def _failure(self) -> ServerError:
        output = " | ".join(self._lines[-3:]) or "it printed nothing"
        if not self._ended:
            output += f", and was not up after {START_TIMEOUT_S:.0f} s; is the machine very busy?"
        return ServerError(f"Prefect's temporary server did not start: {output}")

    def _serve(self) -> None:
        # No UI, no usage reports.
        switches = {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        }
        environment = {name: value for name, value in os.environ.items() if name not in (URL, SERVER_AUTH)}
        if self._auth:
            switches[SERVER_AUTH] = self._auth
        try:
            with suppress(Stopped):
                for _ in range(MAX_STARTS):
                    self._processes.run(
                        [sys.executable, "-P", str(_SCRIPT), *([str(self._port)] if self._port else [])],
                        folder=Path.cwd(),
                        environment={**environment, **switches},
                        timeout_s=None,
                        on_line=self._take,
                    )
                    if not self._was_up:
                        break
        finally:
            self._ended = True
            self._said.set()

    def _take(self, line: str) -> None:
        if self._port is None and line.isdigit():
            self._port = int(line)
            self._said.set()
        else:
            self._lines.append(line)
