"""The mark of a running garbage collection. It holds the locks of idle runs, so a command that needs one waits for it.

The mark is a lock file with the process's id. The kernel releases the lock when the process ends.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.file_lock import try_lock

MARK = Path(".genai/gc.lock")
_CHECK_S = 0.5  # a check whether a collection runs holds the lock for microseconds


def collector(workspace: Path) -> str | None:
    """The id of the process that collects garbage in this checkout; None if there is none."""
    with suppress(FileNotFoundError), (workspace / MARK).open() as file:
        if not try_lock(file, shared=True):
            return file.read() or "unknown"
    return None


@contextmanager
def collecting(workspace: Path) -> Iterator[str | None]:
    """Mark this checkout for the body. Yields the id of another process that has already marked it, else None."""
    path = workspace / MARK
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        deadline = time.monotonic() + _CHECK_S
        while not try_lock(file):
            if time.monotonic() > deadline:
                file.seek(0)
                yield file.read() or "unknown"
                return
            time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield None
