"""Wait for a job, and stop waiting when the client has gone."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request

from flows.serving.jobs import Abandoned, Answer, Job

T = TypeVar("T")


async def answer_of(request: Request, job: Job) -> Answer:
    """Wait for a job's answer. Raises Abandoned if the client disconnects first, and the job's ApiError."""
    return await unless_gone(request, job.answer)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return the result of `work`. If the client disconnects first, cancels it and raises Abandoned."""
    result = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    waited: list[asyncio.Future[Any]] = [result, gone]
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise Abandoned
        return result.result()
    finally:
        result.cancel()  # no effect on one that is done
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(request: Request) -> None:
    """Return when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
