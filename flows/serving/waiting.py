"""Wait for a job, and stop waiting when the client has gone."""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from flows.serving.jobs import Abandoned, Answer, Job


async def answer_of(request: Request, job: Job) -> Answer:
    """Wait for a job's answer. Raises Abandoned if the client disconnects first, and the job's ApiError."""
    gone = asyncio.ensure_future(_disconnected(request))
    waited: list[asyncio.Future[Any]] = [job.answer, gone]
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not job.answer.done():
            raise Abandoned
        return job.answer.result()
    finally:
        job.answer.cancel()  # no effect on one that is done
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(request: Request) -> None:
    """Return when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
