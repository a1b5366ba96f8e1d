"""Work that may take as long as a slow network, and that the server's end does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_background(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a thread and return its result. Raises what it raises.

    Python does not wait for this thread when it exits, as it does for those of asyncio.to_thread: a git remote that
    hangs would keep a stopped server alive for up to an hour.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # cannot be cancelled: `run` may always deliver

    def run() -> None:
        try:
            result.set_result(function(*arguments))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await asyncio.wrap_future(result)
