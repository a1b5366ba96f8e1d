"""When another batch may go to a process."""

import asyncio
from pathlib import Path

import pytest

from flows.serving.generation import Generation
from flows.serving.jobs import Job, JobQueue
from flows.serving.room import Coming, Room
from genai_core.drawing.batches import CPU_BATCHES
from genai_core.serving.shares import IMAGES_A_THREAD, share


@pytest.mark.parametrize(("size", "each", "batches"), [(1, 1, 1), (2, 1, 2), (4, 1, 4), (2, 2, 1), (4, 3, 2)])
def test_batches_go_while_a_thread_is_free(size: int, each: int, batches: int) -> None:
    async def check() -> None:
        room = Room()
        room.size = size
        for _ in range(batches):
            await asyncio.wait_for(room.free(), 1)
            room.take(each)
        waiting = asyncio.ensure_future(room.free())
        await asyncio.sleep(0)
        assert not waiting.done()
        room.give_back(each)
        await asyncio.wait_for(waiting, 1)
        for _ in range(batches - 1):
            assert not room.is_empty
            room.give_back(each)
        await asyncio.wait_for(room.empty(), 1)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("waiting", "wanted", "least_s", "most_s"),
    [(0, 3, 0.2, 1.0), (2, 3, 0.05, 0.19), (3, 3, 0.0, 0.04), (16, 30, 0.0, 0.04)],
    ids=["until the time is over", "until the last one comes", "all are there", "a thread is full"],
)
def test_a_batch_waits_for_those_who_may_come_but_not_long(
    waiting: int, wanted: int, least_s: float, most_s: float
) -> None:
    async def seconds() -> float:
        loop, queue = asyncio.get_running_loop(), JobQueue(64)
        model = Generation("m", "m 1", Path(), None, None)
        for _ in range(waiting):
            queue.put(Job("draw", model, {}))
        begun = loop.time()
        loop.call_later(0.05, queue.put, Job("draw", model, {}))
        await queue.gather(wanted, begun + 0.2)
        return loop.time() - begun

    assert least_s - 0.005 <= asyncio.run(seconds()) <= most_s


def test_one_client_is_not_waited_for() -> None:
    async def coming(jobs: int) -> Coming:
        model = Generation("m", "m 1", Path(), None, None)
        return Coming.after([Job("draw", model, {}, images=4) for _ in range(jobs)], 1000.0)

    assert asyncio.run(coming(1)) == Coming()
    assert [asyncio.run(coming(jobs)).images for jobs in (2, 3, 30)] == [8, 12, 120]


def test_a_thread_has_the_smallest_batch() -> None:
    assert CPU_BATCHES[0] == IMAGES_A_THREAD
    assert [share("draw", images, 3) for images in (1, 16, 17, 64)] == [1, 1, 2, 3]


def test_only_what_nothing_may_run_beside_takes_all_threads() -> None:
    assert [share(op, 1, 3) for op in ("draw", "encode", "unload", "explain")] == [1, 1, 3, 3]
