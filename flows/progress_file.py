"""Follow the progress file that a task writes (genai_core/progress.py) while it runs."""

import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def followed(path: Path, on_state: Callable[[dict[str, Any]], None], every_s: float) -> Iterator[None]:
    """Call `on_state` with the content of `path` every so many seconds while the body runs, and once after it.

    In a thread, and in the context of the caller: what Prefect publishes there belongs to the current task run.
    """
    done = threading.Event()

    def follow() -> None:
        ended = False
        while not ended:
            ended = done.wait(every_s)  # once more after the end: a short task reports only then
            with suppress(FileNotFoundError, json.JSONDecodeError):
                on_state(json.loads(path.read_text()))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(follow,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
