"""Ctrl-C while libraries are imported: it waits until they are."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Set by the command's handler of SIGTERM: a run that has begun all the same looks at it.
asked_to_end = threading.Event()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """A Ctrl-C within the body is raised at its end, a second or two later. For the main thread.

    In the middle of an import it would be lost in a library's `except:` or `__del__`; and one that comes while Python
    runs code made of text, as dataclasses do, ends `python -m` by the signal whatever status was asked for.
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
