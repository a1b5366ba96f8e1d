"""The threads of a processor, divided among requests that are computed at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


class Threads:
    """Runs work in order of arrival, each with its share of the threads. For one caller."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._freed = threading.Condition()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="drawing")

    def run(self, work: Callable[[], None], threads: int) -> None:
        """Wait until so many threads are free, and begin `work` on them. It must handle its own errors.

        Work on all threads runs in the caller, which comes back when it is done; other work runs beside the caller.
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
            torch.set_num_threads(threads)  # of the calling thread; new ones get what any thread has set last
            work()
        finally:
            with self._freed:
                self._free += threads
                self._freed.notify()
