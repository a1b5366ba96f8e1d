"""Work in a thread that the end of the process does not wait for."""

import asyncio
import threading

import pytest

from flows.serving.background import in_background


def test_its_result_and_its_error_reach_the_one_who_waits() -> None:
    assert asyncio.run(in_background(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_background(divmod, 7, 0))


def test_the_end_of_the_loop_and_of_python_does_not_wait_for_it() -> None:
    may_end = threading.Event()
    safety = threading.Timer(10.0, may_end.set)
    safety.start()

    async def story() -> list[threading.Thread]:
        before = threading.enumerate()
        task = asyncio.create_task(in_background(may_end.wait))
        await asyncio.sleep(0.05)
        task.cancel()
        return [thread for thread in threading.enumerate() if thread not in before]

    try:
        (thread,) = asyncio.run(story())
        assert thread.is_alive()
        assert thread.daemon
        assert not may_end.is_set()
    finally:
        safety.cancel()
        may_end.set()
    thread.join()
