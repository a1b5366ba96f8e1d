"""What is computed for a client that leaves."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Message

from flows.serving.context import Serving
from flows.serving.explored import Explored
from flows.serving.jobs import Abandoned, JobQueue
from flows.serving.metrics import Metrics
from flows.serving.models import Models
from flows.serving.waiting import unless_gone


def test_the_images_of_a_client_that_left_are_not_coded_to_the_end(tmp_path: Path) -> None:
    coded: list[int] = []

    async def ask() -> None:
        left = asyncio.Event()
        loop = asyncio.get_running_loop()

        def images() -> Iterator[int]:
            for number in range(1000):
                if number == 3:
                    loop.call_soon_threadsafe(left.set)
                coded.append(number)
                yield number

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        serving = Serving(Models([]), JobQueue(1), [], Metrics(), Explored(tmp_path, tmp_path, "cpu"))

        async def all_of_them() -> list[int]:
            return [number async for number in serving.each_in_thread(images())]

        with pytest.raises(Abandoned):
            await unless_gone(Request({"type": "http"}, receive), all_of_them())
        serving.coders.shutdown()

    asyncio.run(ask())
    assert 4 <= len(coded) < 20
