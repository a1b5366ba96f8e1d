"""Server-sent events of a drawing: previews while it is computed, then its images."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request

from flows.serving.answers import Form, images_of, previews_of
from flows.serving.context import Serving
from flows.serving.drawing import Plan
from flows.serving.errors import ApiError
from flows.serving.jobs import Abandoned, Job, Preview
from flows.serving.waiting import answer_of


async def events(serving: Serving, request: Request, plan: Plan, form: Form) -> AsyncIterator[str]:
    """Yield the events `preview`, `image`, `done` and `error`. The first one comes when the job is in the queue.

    Raises ApiError before the first event if the queue is full.
    """
    newest: asyncio.Queue[Preview] = asyncio.Queue(1)

    def keep(preview: Preview) -> None:
        if newest.full():  # a slow client gets the newest state, not every one
            newest.get_nowait()
        newest.put_nowait(preview)

    job = plan.job(keep)
    serving.queue.put(job)
    return _events(serving, request, plan, form, job, newest)


async def _events(
    serving: Serving, request: Request, plan: Plan, form: Form, job: Job, newest: "asyncio.Queue[Preview]"
) -> AsyncIterator[str]:
    waiting = asyncio.ensure_future(answer_of(request, job))
    try:
        while not waiting.done():
            preview = asyncio.ensure_future(newest.get())
            await asyncio.wait({waiting, preview}, return_when=asyncio.FIRST_COMPLETED)
            if not preview.done():
                preview.cancel()
                continue
            state = preview.result()
            index = 0
            async for content in serving.each_in_thread(previews_of(state, form)):
                yield _event("preview", {"index": index, "b64": content, "mime": form.mime})
                index += 1
        answer = await waiting
        index = 0
        async for image in serving.each_in_thread(images_of(plan, answer, form)):
            yield _event("image", {"index": index, **image})
            index += 1
        yield _event("done", {"ms": answer.ms, "batch": answer.batch_images})
    except Abandoned:
        return
    except ApiError as error:
        yield _event("error", {"status": error.status, **error.body()})
    finally:
        waiting.cancel()


def _event(name: str, values: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n"
