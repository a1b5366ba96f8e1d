"""Follow the progress file that a task writes (genai_core/progress.py) while it runs."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from flows.beside import beside


@contextmanager
def followed(path: Path, on_state: Callable[[dict[str, Any]], None], every_s: float) -> Iterator[None]:
    """Call `on_state` with the content of `path` every so many seconds while the body runs, and once after it.

    In a thread, and in the context of the caller: what Prefect publishes there belongs to the current task run.
    """

    def follow(over: threading.Event) -> None:
        ended = False
        while not ended:
            ended = over.wait(every_s)  # once more after the end: a short task reports only then
            with suppress(FileNotFoundError, json.JSONDecodeError):
                on_state(json.loads(path.read_text()))

    context = copy_context()
    with beside(lambda over: context.run(follow, over)):
        yield
