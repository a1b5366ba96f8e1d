"""The threads of a processor, divided among requests that are computed at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


class Threads:
    """Runs work in order of arrival, each with its share of the threads. Call `run` from one thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._freed = threading.Condition()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="drawing")

    def run(self, work: Callable[[], None], threads: int) -> None:
        """Wait until so many threads are free, and begin `work` on them. It must handle its own errors.

        Work on all threads runs in the caller, which blocks until it is done; other work runs in the background.
        """
        with self._freed:
            self._freed.wait_for(lambda: self._free >= threads)
            self._free -= threads
        if threads == self.count:
            self._run(work, threads)
        else:
            self._pool.submit(self._run, work, threads)

    def end(self) -> None:
        """Wait for all work."""
        self._pool.shutdown()

    def _run(self, work: Callable[[], None], threads: int) -> None:
        try:
            torch.get_num_threads()  # a thread's first operation takes the number that any thread has set last
            torch.set_num_threads(threads)
            work()
        finally:
            with self._freed:
                self._free += threads
                self._freed.notify()
