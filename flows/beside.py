"""Work in a thread beside other work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], object], join_s: float | None = None) -> Iterator[None]:
    """Call `work` in a thread while the body runs, and wait for its end afterwards, for `join_s` seconds at most.

    The event is set when the body has ended; `work` has to return soon after. The thread does not have the caller's
    context variables, which Prefect's functions need; `work` may enter a copy of them.
    """
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(join_s)
