"""The outermost layer: access, size and type of bodies, headers for browsers, and measuring every request."""

import asyncio
import json
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.serving.access import Access
from flows.serving.errors import ApiError
from flows.serving.jobs import Abandoned
from flows.serving.metrics import Metrics

MOST_BODY_BYTES = 8 * 2**20
BODY_TIMEOUT_S = 30.0
METHODS = ("GET", "HEAD", "POST", "OPTIONS")

# The page loads nothing from elsewhere, and nobody may put it into a frame.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI middleware. No CORS header is ever sent: pages of other origins cannot read an answer."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._guarded(scope, receive, answer)
        except Abandoned:
            pass
        except ApiError as error:
            if status:
                raise
            await _refuse(error, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.request(route, method, status, time.perf_counter() - begun)

    async def _guarded(self, scope: Scope, receive: Receive, answer: Send) -> None:
        headers = Headers(scope=scope)
        scope["genai.client"] = self._access.check(scope["path"], headers)
        if scope["method"] == "POST":
            # Also against pages of other origins: a browser asks before it sends JSON to another one, and gets a no.
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                message = "expected a body with Content-Type: application/json"
                raise ApiError(415, message, code="unsupported_media_type")
            receive = _again(await _body(receive, headers), receive)
        await self._app(scope, receive, answer)


async def _body(receive: Receive, headers: Headers) -> bytes:
    """Read a whole body. Raises ApiError 413 as soon as it is too large, 408 if it does not come."""
    too_large = ApiError(413, f"the body is larger than {MOST_BODY_BYTES // 2**20} MiB", code="body_too_large")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MOST_BODY_BYTES:
        raise too_large
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while (message := await receive())["type"] == "http.request":
                parts.append(message.get("body", b""))
                if sum(map(len, parts)) > MOST_BODY_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s", code="body_timeout") from None
    raise Abandoned


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body that was read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


async def _refuse(error: ApiError, answer: Send) -> None:
    body = json.dumps(error.body()).encode()
    found = {"content-type": "application/json", "content-length": str(len(body)), **error.headers()}
    # Perhaps a part of the request's body was not read, so the connection cannot be used again.
    found |= {"connection": "close"} if error.status in (401, 403, 408, 413, 415, 429) else {}
    headers = [(name.lower().encode(), value.encode()) for name, value in found.items()]
    await answer({"type": "http.response.start", "status": error.status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})
