"""Delay Ctrl-C while libraries are imported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Set by the command's SIGTERM handler, and checked by a run that has started nevertheless.
asked_to_end = threading.Event()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Raise a Ctrl-C of the body at its end, a second or two later. Main thread only.

    During an import, a library's `except:` or `__del__` may swallow it. While Python runs generated code, as
    dataclasses do, it ends `python -m` by the signal, whatever the exit status should be.
    """
    came = False

    def remember(_number: int, _frame: object) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
