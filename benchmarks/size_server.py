"""Prefect's server with a count of the calls that it gets, for benchmarks/scale_out_size.py.

The app of `prefect server start` behind a layer that counts, so that nothing but the counting differs. GET /counts has
the calls so far: by caller and route, with the seconds until the answer was complete.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PATH = "/counts"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAME = re.compile(r"(?<=/work_pools/)[^/]+|(?<=/name/).+")
_CONNECTION = "websocket"

Message = MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Counted:
    """An ASGI app that counts the calls of another one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._calls: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])  # calls, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await self._answer(send)
        elif scope["type"] == "http":
            began = time.monotonic()
            await self._app(scope, receive, send)
            self._count(scope, scope["method"], time.monotonic() - began)
        elif scope["type"] == _CONNECTION:
            self._count(scope, "connect")

            async def counted() -> Message:
                message = await receive()
                if message["type"] == "websocket.receive":
                    self._count(scope, "message")
                return message

            await self._app(scope, counted, send)
        else:
            await self._app(scope, receive, send)

    def _count(self, scope: Message, what: str, seconds: float = 0.0) -> None:
        found = self._calls[_caller(scope), f"{what} {route(scope['path'])}"]
        found[0] += 1
        found[1] += seconds

    async def _answer(self, send: Send) -> None:
        calls = [[caller, route, int(count), seconds] for (caller, route), (count, seconds) in self._calls.items()]
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(calls).encode()})


def route(path: str) -> str:
    """A path with {id} and {name} in place of those."""
    return _NAME.sub("{name}", _ID.sub("{id}", path.removeprefix("/api")))


def _caller(scope: Message) -> str:
    """Prefect's clients name their worker, and a job's process also its flow. The coordinator has no worker."""
    names = {name.lower() for name, _ in scope["headers"]}
    if b"x-prefect-worker-name" not in names:
        return "coordinator"
    return "job" if b"x-prefect-flow-id" in names else "worker"


def create_app() -> Counted:
    from prefect.server.api.server import create_app as create_prefect

    return Counted(create_prefect(final=True))
