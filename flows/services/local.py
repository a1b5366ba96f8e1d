"""Start and stop Prefect's server, workers and deployments on one machine, and no other processes."""

import errno
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import psutil

from flows.process import TimedOut, run_command, start_service
from flows.redact import redacted
from flows.services.api import Api, ApiError, api_at
from flows.services.deployment_file import DEPLOYMENTS, ServicesError, check_deployments, deployment_file, work_pools
from flows.services.processes import STATE, Service, State, exclusive, read_state, terminate, write_state
from flows.services.serve_service import NAME as SERVE
from flows.services.serve_service import is_ready, serve_command, serve_url, wanted_server
from flows.services.settings import AUTH, SERVER_AUTH, server_auth, setting
from flows.services.zombie_runs import HEARTBEAT_S, ensure_automations
from genai_core.config import ServeConfig

LOGS, HOME = Path(".genai/logs"), Path(".genai/prefect")
START_TIMEOUT_S = 300.0  # on a busy machine, the server's first start takes minutes; one that died is seen at once
SLOW_START_S = 30.0


def up(workspace: Path, host: str, port: int, say: Callable[[str], None], *, database: str | None = None) -> State:
    """Start the server and a worker per work pool, unless they run; deploy the file; wait until all are ready.

    If params.yaml asks for it (`serve.up`), start the server for models too.

    database: address of a PostgreSQL database; None: SQLite below .genai/prefect. Raises ServicesError if
    a service does not start; the services that this call started are stopped then. ConfigError.
    """
    _check_access(host)
    check_deployments(workspace)
    serve = wanted_server(workspace)
    pools, on_server = work_pools(workspace), database_settings(database)
    with exclusive(workspace):
        state = read_state(workspace)
        before = state.living() if state else ()
        wanted = f"http://{_local(host)}:{port}/api"
        server = next((service for service in before if service.name == "server"), None)
        if server and state and state.url != wanted:
            raise ServicesError(f"a server of this checkout already runs at {state.url}; stop it with genai down")
        api = api_at(wanted, ours=True)
        started = list(before)
        try:
            if server is None:
                _check_port(host, port)
                started.insert(0, _start(workspace, "server", _server_command(host, port), wanted, on_server))
                write_state(workspace, State(wanted, tuple(started)))
            _wait("the server", workspace, started[0], lambda: _is_healthy(api), say)
            for pool in pools:
                name = f"worker {pool}"
                worker = next((service for service in started if service.name == name), None)
                if worker is None:
                    worker = _start(workspace, name, _worker_command(pool), wanted)
                    started.append(worker)
                    write_state(workspace, State(wanted, tuple(started)))
                _wait(name, workspace, worker, lambda pool=pool: _has_worker(api, pool), say)  # type: ignore[misc]
            _deploy(workspace, wanted, say)
            _ensure_automations(api)
            if serve is not None:
                _serve(workspace, serve, wanted, started, say)
                say(f"served: {', '.join(serve.models)} at {serve_url(serve)}")
        except BaseException:
            for service in reversed(started):
                if service not in before:
                    terminate(service)
            write_state(workspace, State(wanted, before))
            raise
        return State(wanted, tuple(started))


def _serve(workspace: Path, config: ServeConfig, url: str, started: list[Service], say: Callable[[str], None]) -> None:
    """Start the server for models, unless it runs, and wait until it draws."""
    service = next((service for service in started if service.name == SERVE), None)
    if service is None:
        _check_port(config.host, config.port)
        service = _start(workspace, SERVE, serve_command(workspace, config), url)
        started.append(service)
        write_state(workspace, State(url, tuple(started)))
    _wait("the server for models (serve: in params.yaml)", workspace, service, lambda: is_ready(config), say)


def down(workspace: Path) -> tuple[str, ...]:
    """Stop the services that `up` started, workers first. Return the names of those that were running."""
    with exclusive(workspace):
        state = read_state(workspace)
        living = state.living() if state else ()
        for service in reversed(living):
            terminate(service)
        (workspace / STATE).unlink(missing_ok=True)
        return tuple(service.name for service in living)


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_access(host: str) -> None:
    if not is_loopback(host) and ":" not in (server_auth() or ""):
        raise ServicesError(
            f"--host {host} is open to other machines, and whoever reaches the API can run code on the workers: "
            "set PREFECT_SERVER_API_AUTH_STRING to user:password first"
        )


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:  # UnicodeError: such as a label of a name that is too long
        reason = getattr(error, "strerror", None) or error
        raise ServicesError(f"host {host} is not known here ({reason}); expected an address of this machine") from None
    try:
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ServicesError(f"host {host} is another machine's; expected an address of this machine") from None
        raise ServicesError(f"cannot listen on port {port} of {host} ({error.strerror}); choose another port") from None


def _local(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "localhost") else host  # noqa: S104


def _server_command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]


def _worker_command(pool: str) -> list[str]:
    # The worker creates the pool, with its own type, if there is none of that name.
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]


def _environment(workspace: Path, url: str) -> dict[str, str]:
    home = {"PREFECT_HOME": str(workspace / HOME)} if "PREFECT_HOME" not in os.environ else {}
    own = server_auth()  # passed on: the processes look for settings files in their own folder
    auth = own or setting(AUTH)
    return {
        **os.environ,
        **home,
        **({SERVER_AUTH: own} if own else {}),
        **({AUTH: auth} if auth else {}),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Without heartbeats, zombie runs are not detected (zombie_runs.py).
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": f"{HEARTBEAT_S}",
    }


def database_settings(address: str | None) -> dict[str, str]:
    """The server's environment for a PostgreSQL database. Raises ServicesError for any other address."""
    if address is None:
        return {}
    scheme, _, rest = address.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or "/" not in rest:
        raise ServicesError(
            "--postgres: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE; what came is not shown, since nothing "
            "says which part of it is a password"
        )
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{rest}"}


def _start(
    workspace: Path, name: str, command: list[str], url: str, more: Mapping[str, str] = MappingProxyType({})
) -> Service:
    environment = {**_environment(workspace, url), **more}
    pid = start_service(command, folder=workspace, environment=environment, log=_log(workspace, name))
    return Service(name, pid, psutil.Process(pid).create_time())


def _log(workspace: Path, name: str) -> Path:
    return workspace / LOGS / f"{name.replace(' ', '-')}.log"


def _deploy(workspace: Path, url: str, say: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(DEPLOYMENTS), "--all"]
    lines: list[str] = []
    environment = {**_environment(workspace, url), "NO_COLOR": "1"}
    try:
        status = run_command(
            command, folder=workspace, environment=environment, timeout_s=START_TIMEOUT_S, on_line=lines.append
        )
    except TimedOut:
        raise ServicesError(f"{DEPLOYMENTS} could not be deployed within {START_TIMEOUT_S:g} s") from None
    if status != 0:
        output = [line for line in lines if line.strip()]
        raise ServicesError("\n".join([f"{DEPLOYMENTS} could not be deployed:", *output[-6:]]))
    say(f"deployed: {', '.join(str(entry['name']) for entry in deployment_file(workspace))}")


def _ensure_automations(api: Api) -> None:
    try:
        ensure_automations(api)
    except ApiError as error:
        raise ServicesError(f"the automations for zombie runs could not be created: {error}") from None


def _wait(what: str, workspace: Path, service: Service, ready: Callable[[], bool], say: Callable[[str], None]) -> None:
    began, log, told = time.monotonic(), _log(workspace, service.name), False
    while not ready():
        passed_s = time.monotonic() - began
        if not service.process():
            output = log.read_text(errors="replace").strip().splitlines()[-3:] if log.is_file() else []
            raise ServicesError("\n".join([f"{what} did not start; see {log}:", *map(redacted, output)]))
        if passed_s > START_TIMEOUT_S:
            raise ServicesError(
                f"{what} is alive, but was not ready after {START_TIMEOUT_S:.0f} s; see {log}. If this machine is "
                "busy, try again when it is not"
            )
        if passed_s > SLOW_START_S and not told:
            told = True
            say(f"waiting for {what}, for {START_TIMEOUT_S:.0f} s at most; its log: {log}")
        time.sleep(0.2)


def _is_healthy(api: Api) -> bool:
    with suppress(ApiError):
        return bool(api.get("health", timeout_s=2.0) is True)
    return False


def _has_worker(api: Api, pool: str) -> bool:
    with suppress(ApiError):
        return any(worker["status"] == "ONLINE" for worker in api.post(f"work_pools/{pool}/workers/filter"))
    return False
