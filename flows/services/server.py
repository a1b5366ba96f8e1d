"""Where a run reports to: the Prefect server that is configured, or a temporary one that ends with the run."""

import atexit
import os
import socket
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from flows.interrupts import deferred_interrupt
from flows.process import Processes, Stopped
from flows.services.silence import HEARTBEAT_S

START_TIMEOUT_S = 60.0


class ServerError(RuntimeError):
    """No Prefect server could be reached or started; the message is one line."""


def configured_api_url() -> str | None:
    """The address of the user's own server, by PREFECT_API_URL or the active profile. Imports no prefect (1.3 s)."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", _prefect_home() / "profiles.toml"))
    try:
        profiles = tomllib.loads(path.read_text())
    except (FileNotFoundError, tomllib.TOMLDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    url = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return url if isinstance(url, str) else None


def ensure_prefect_api() -> str:
    """The API's address: the configured server's, or that of a temporary one that lives as long as this process.

    Prefect would start a temporary server by itself, but in our process group and without a lifeline: Ctrl-C would
    end it before the run could report, and a killed run would leave it behind. Raises ServerError.
    """
    # Prefect's own pulse is slower than the silence after which `genai up` has a run marked as crashed.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", f"{HEARTBEAT_S}")
    url = configured_api_url()
    if url is not None:
        _check_answers(url)
        return url
    if "prefect" in sys.modules:
        raise ServerError("prefect was imported before its temporary server was started")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_API_URL"] = url
    processes = Processes(grace_s=5.0)
    lines: list[str] = []
    thread = threading.Thread(target=_serve, args=(processes, port, lines), daemon=True)
    with _starting_alone():
        thread.start()
        # Exit handlers run last in, first out: what Prefect registers when it is imported, below, sends the
        # logs that are still waiting, and must find the server alive.
        atexit.register(_stop, processes, thread)
        # Prefect takes more than a second to import: the server comes up meanwhile.
        with deferred_interrupt():
            import prefect  # noqa: F401

        _wait_until_healthy(url, thread, lines)
    return url


@contextmanager
def _starting_alone() -> Iterator[None]:
    """Two temporary servers share a database, and one of them dies when both make its tables at once."""
    home = _prefect_home()
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "temporary-server.lock", timeout=2 * START_TIMEOUT_S):
            yield
    except Timeout:
        raise ServerError(f"another run's temporary Prefect server, in {home}, does not come up") from None


def _prefect_home() -> Path:
    return Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))


def _check_answers(url: str) -> None:
    """Raises ServerError when nobody listens there; whatever else is wrong Prefect says itself."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10.0).close()  # noqa: S310 - the user's own address
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, (ConnectionError, TimeoutError, socket.gaierror, ValueError)):
            raise ServerError(
                f"no Prefect server answers at {url} ({reason}); start it, or unset PREFECT_API_URL for a temporary one"
            ) from None


def _stop(processes: Processes, thread: threading.Thread) -> None:
    processes.stop()
    thread.join(timeout=10.0)


def _serve(processes: Processes, port: int, lines: list[str]) -> None:
    # What Prefect runs as its temporary server, without the pages and with the usage report off.
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    switches = {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    }
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with suppress(Stopped):
        processes.run(
            command, folder=Path.cwd(), environment={**environment, **switches}, timeout_s=None, on_line=lines.append
        )


def _wait_until_healthy(url: str, thread: threading.Thread, lines: list[str]) -> None:
    waited_s, step_s = 0.0, 0.1
    while waited_s < START_TIMEOUT_S:
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{url}/health", timeout=2.0) as answer,  # noqa: S310 - our own address
        ):
            if answer.status == 200:
                return
        thread.join(timeout=step_s)
        if not thread.is_alive():
            break
        waited_s += step_s
    said = " | ".join(lines[-3:]) or "it said nothing"
    raise ServerError(f"Prefect's temporary server did not start: {said}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
