"""Start a server: its port, the process of its models, HTTP; and end it."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.process import Piped
from flows.serving.model_process import ModelProcess, ProcessEnded, start_process
from flows.serving.sources import Source, find_sources
from genai_core import GenaiError

if TYPE_CHECKING:
    from uvicorn import Server

log = logging.getLogger("genai.serve")

# For requests that are being served when the server is told to stop.
GRACE_S = 10


class ServeError(GenaiError):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    host: str
    port: int
    devices: tuple[str, ...]
    threads: int | None
    queue_images: int
    batch_images: int


def serve(workspace: Path, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Serve models until SIGTERM or Ctrl-C. Raises ServeError and the errors of find_sources."""
    with listening(options.host, options.port) as listener:
        # First of all: the process imports torch while we find the models and import FastAPI.
        code = code_for(workspace)
        started = [start_process(code, device, options.threads) for device in options.devices]
        try:
            sources = find_sources(workspace, names)
        except BaseException:
            for process in started:
                process.kill()
                process.wait()
            raise
        asyncio.run(_run(listener, started, code, sources, options, say))


def code_for(workspace: Path) -> Path:
    """Return where the models' process finds its code: the workspace, which may have networks of its own, else ours."""
    return workspace if (workspace / "tasks" / "serve.py").is_file() else Path(__file__).parents[2]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises ServeError, such as for a port in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServeError(f"--host {host}: {error.strerror or error}") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            raise ServeError(
                f"port {port} of {host} cannot be used: {(error.strerror or str(error)).lower()}; stop what uses it, "
                "or choose another one with --port"
            ) from None
        yield listener


async def _run(
    listener: socket.socket,
    started: list[Piped],
    code: Path,
    sources: Sequence[Source],
    options: Options,
    say: Callable[[str], None],
) -> None:
    # Here, so that the process of the models starts before they are imported.
    from uvicorn import Config, Server

    from flows.serving.app import make_app
    from flows.serving.context import Serving
    from flows.serving.dispatcher import Dispatcher, LoadError
    from flows.serving.jobs import JobQueue
    from flows.serving.models import Models

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    queue = JobQueue(options.queue_images)

    def dispatcher_of(device: str, first: Piped) -> Dispatcher:
        def another() -> ModelProcess:
            return ModelProcess(start_process(code, device, options.threads))

        return Dispatcher(queue, ModelProcess(first), another, options.batch_images)

    dispatchers = [dispatcher_of(device, first) for device, first in zip(options.devices, started, strict=True)]
    serving = Serving(Models(dispatchers), queue, dispatchers)
    config = Config(
        make_app(serving),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
        server_header=False,
    )
    server = Server(config)
    stop_on_signals(server)
    try:
        await serving.models.open(sources)
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        for model in serving.models:
            size = "x".join(map(str, reversed(model.description["image_size"])))
            name = model.name if model.version in (None, model.name) else f"{model.name} ({model.version})"
            say(f"{name}: {model.description['family']}, {size} pixels, on {dispatchers[0].device}")
        say(f"http://{address}:{port}")
        serving.ready = True
        await server._serve([listener])  # not `serve`, which would install handlers of its own
    except (LoadError, ProcessEnded) as error:
        raise ServeError(str(error) or "the process that holds the models ended; its last lines say why") from None
    finally:
        serving.ready = False
        for dispatcher in dispatchers:
            await dispatcher.close()
        serving.coders.shutdown(wait=False, cancel_futures=True)


def stop_on_signals(server: "Server") -> None:
    """Let SIGTERM and Ctrl-C end the server; a second one ends it without waiting for requests."""

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
