"""When another batch may go to a process."""

import asyncio

import pytest

from flows.serving.room import Room
from genai_core.drawing.batches import CPU_BATCHES
from genai_core.serving.shares import IMAGES_A_THREAD, threads_for


@pytest.mark.parametrize(
    ("threads", "each", "batches"),
    [
        (1, 1, 2),  # a GPU, or one core: one is computed, one waits
        (2, 1, 2),  # one on each thread; others still join what waits in the queue
        (4, 1, 4),
        (2, 2, 2),
        (4, 3, 2),
    ],
)
def test_batches_go_while_a_thread_is_free_and_one_waits_behind_a_large_one(
    threads: int, each: int, batches: int
) -> None:
    async def sent() -> int:
        room, count = Room(), 0
        room.threads = threads
        while True:
            try:
                async with asyncio.timeout(0.01):
                    await room.free()
            except TimeoutError:
                break
            room.take(each)
            count += 1
        waiting = asyncio.ensure_future(room.free())
        await asyncio.sleep(0)
        assert not waiting.done()
        room.give_back(each)
        await asyncio.wait_for(waiting, 1)
        for _ in range(count - 1):
            room.give_back(each)
        await asyncio.wait_for(room.empty(), 1)
        return count

    assert asyncio.run(sent()) == batches


def test_a_thread_has_the_smallest_batch() -> None:
    assert CPU_BATCHES[0] == IMAGES_A_THREAD
    assert [threads_for(images, 3) for images in (1, 16, 17, 64)] == [1, 1, 2, 3]
