"""The queue refuses what it can no longer serve."""

import asyncio

import pytest

from flows.serving.errors import ApiError
from flows.serving.jobs import Job, JobQueue
from tests.flows.serving.scripted import generation


def test_a_closed_queue_refuses_waiting_computing_and_new_jobs() -> None:
    async def story() -> None:
        queue, model = JobQueue(64), generation("gan")
        computing, waiting = (Job("draw", model, {}) for _ in range(2))
        queue.put(computing)
        assert await queue.take(lambda _: 32) == [computing]
        queue.put(waiting)
        queue.close()
        for job in (computing, waiting):
            assert isinstance(error := job.answer.exception(), ApiError)
            assert (error.status, error.code, error.retry_after_s) == (503, "stopping", 5)
        with pytest.raises(ApiError, match="the server is stopping"):
            queue.put(Job("draw", model, {}))
        assert queue.images == 0
        await asyncio.sleep(0)  # the callbacks of the answers
        assert model.outstanding == 0

    asyncio.run(story())
