"""Start a server: its port, the process of its models, HTTP; and end it."""

import asyncio
import errno
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
from flows.registry.model_names import open_model
from flows.serving.model_process import ModelProcess, ProcessEnded, discard, start_process
from flows.serving.sources import Source, find_sources
from genai_core import GenaiError

if TYPE_CHECKING:
    from uvicorn import Server

    from flows.serving.access import Access
    from flows.serving.dispatcher import Dispatcher
    from flows.serving.jobs import JobQueue

log = logging.getLogger("genai.serve")

# For requests that are being served when the server is told to stop.
GRACE_S = 10
# Before uvicorn cuts their connections: for the answer that says so.
REFUSE_AFTER_S = GRACE_S - 1
LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
    token_rate: int
    blind: bool = False


def serve(workspace: Path, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Serve models until SIGTERM or Ctrl-C. Raises ServeError and the errors of find_sources."""
    access = access_for(workspace, options)
    with listening(options.host, options.port) as listener:
        # Before the rest: the process imports torch while we find the models and import FastAPI.
        code = code_for(workspace)
        started = [start_process(code, device, options.threads) for device in options.devices]
        try:
            sources = find_sources(workspace, names)
            if options.blind:
                from flows.serving.blind import check_blind

                check_blind(sources)
        except BaseException as error:
            for process in started:
                discard(process)
            if isinstance(error, OSError):  # such as a full disk
                raise ServeError(f"the models cannot be opened: {error}") from None
            raise
        asyncio.run(_run(listener, started, workspace, sources, access, options, say))


def code_for(workspace: Path) -> Path:
    """Return where the models' process finds its code: the workspace, which may have networks of its own, else ours."""
    return workspace if (workspace / "tasks" / "serve.py").is_file() else Path(__file__).parents[2]


def access_for(workspace: Path, options: Options) -> "Access":
    """Return the rules of access. Raises ServeError beyond loopback without a token, and TokenError."""
    from flows.serving.access import Access
    from flows.serving.rates import RateLimit
    from flows.serving.tokens import KnownTokens

    tokens = KnownTokens(workspace)
    is_local = options.host in LOOPBACK
    if not is_local and not tokens.any_valid:
        raise ServeError(
            f"--host {options.host} can be reached by others, so clients need a token, and there is none; make one "
            "with `genai serve token add NAME`"
        )
    return Access(tokens, RateLimit(options.token_rate), needs_token=not is_local or tokens.any_added)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises ServeError, such as for a port in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: such as a label of a name that is too long
        raise ServeError(f"--host {host}: {getattr(error, 'strerror', None) or error}") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ServeError(f"--host {host} is another machine's; expected an address of this machine") from None
            raise ServeError(
                f"port {port} of {host} cannot be used: {(error.strerror or str(error)).lower()}; stop what uses it, "
                "or choose another one with --port"
            ) from None
        yield listener


async def _run(
    listener: socket.socket,
    started: list[Piped],
    workspace: Path,
    sources: Sequence[Source],
    access: "Access",
    options: Options,
    say: Callable[[str], None],
) -> None:
    code = code_for(workspace)
    # Here, so that the process of the models starts before they are imported.
    from uvicorn import Config, Server

    from flows.serving.app import make_app
    from flows.serving.blind import Blind, check_classes
    from flows.serving.changed_files import watch_files
    from flows.serving.context import Serving
    from flows.serving.dispatcher import Dispatcher, LoadError
    from flows.serving.explored import Explored
    from flows.serving.generation import Generation
    from flows.serving.guard import Guard
    from flows.serving.jobs import JobQueue
    from flows.serving.metrics import Metrics
    from flows.serving.models import Models
    from flows.serving.promotions import Promotions

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    queue, metrics = JobQueue(options.queue_images), Metrics()

    def lay_out(generation: Generation) -> None:
        if generation.version is not None:
            open_model(workspace, generation.version)

    def dispatcher_of(device: str, first: Piped) -> Dispatcher:
        def another() -> ModelProcess:
            return ModelProcess(start_process(code, device, options.threads))

        return Dispatcher(
            queue, ModelProcess(first), another, options.batch_images, metrics.batch, lay_out, lambda: serving.is_any_up
        )

    dispatchers = [dispatcher_of(device, first) for device, first in zip(options.devices, started, strict=True)]
    metrics.watch(queue, dispatchers)
    explored = Explored(workspace, code, options.devices[0])
    serving = Serving(Models(dispatchers), queue, dispatchers, metrics, explored)
    config = Config(
        Guard(make_app(serving, workspace), access, metrics),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
        ws="none",
        server_header=False,
    )
    server = Server(config)
    stop_on_signals(server, queue, dispatchers)
    watching: list[asyncio.Task[None]] = []
    try:
        await serving.models.open(sources)
        if options.blind:
            check_classes(list(serving.models))
            serving.blind = Blind([model.name for model in serving.models])
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        for model in serving.models:
            size = "x".join(map(str, reversed(model.description["image_size"])))
            name = model.name if model.version in (None, model.name) else f"{model.name} ({model.version})"
            say(f"{name}: {model.description['family']}, {size} pixels, on {dispatchers[0].device}")
        say(f"http://{address}:{port}")
        if options.blind:
            say(f"people vote at http://{address}:{port}/votes")
        serving.ready = True
        promotions = Promotions(serving.models, workspace)
        endless = (promotions.follow(), promotions.fetch(), watch_files(serving.models))
        watching = [asyncio.create_task(work) for work in endless]
        await server._serve([listener])  # not `serve`, which would install handlers of its own
    except LoadError as error:
        raise ServeError(str(error)) from None
    except ProcessEnded:
        raise ServeError("the process that holds the models ended; the lines above say why") from None
    finally:
        serving.ready = False
        explored.stop()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for dispatcher in dispatchers:
            await dispatcher.close()
        serving.coders.shutdown(wait=False, cancel_futures=True)


def stop_on_signals(server: "Server", queue: "JobQueue", dispatchers: "Sequence[Dispatcher]") -> None:
    """Let SIGTERM and Ctrl-C end the server; a second one ends it and its processes without waiting for requests.

    What is not answered in time is refused with 503.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
            queue.close()
            for dispatcher in dispatchers:
                dispatcher.kill()
        else:
            server.should_exit = True
            loop.call_later(REFUSE_AFTER_S, queue.close)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
