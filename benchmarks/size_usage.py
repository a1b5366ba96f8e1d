"""What the processes of benchmarks/scale_out_size.py use, sampled while a run goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

SAMPLE_S = 1.0


@dataclass
class Usage:
    """What each part has used so far: processor seconds, and the most memory and threads of the coordinator.

    parts: process ids, each with its children. A child's seconds are kept when it has ended.
    """

    parts: dict[str, int]
    seconds: dict[int, tuple[str, float]] = field(default_factory=dict)
    most_mb: float = 0.0
    most_threads: int = 0

    def sample(self) -> None:
        for part, pid in self.parts.items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                for member in (process, *process.children(recursive=True)):
                    with suppress(psutil.Error):
                        times = member.cpu_times()
                        self.seconds[member.pid] = part, times.user + times.system
                if part == "coordinator":
                    self.most_mb = max(self.most_mb, process.memory_info().rss / 1e6)
                    self.most_threads = max(self.most_threads, process.num_threads())

    def of(self, part: str) -> float:
        return sum(seconds for name, seconds in self.seconds.values() if name == part)


@dataclass
class HandedOut:
    """When the first and the last job was created at the server, in seconds since the command began."""

    first: float = 0.0
    last: float = 0.0
    jobs: int = 0


@contextmanager
def sampled(usage: Usage, jobs: Callable[[], int], began: float) -> Iterator[HandedOut]:
    """Sample while the body runs. jobs: how many were handed out so far."""
    over, handed = threading.Event(), HandedOut()

    def keep() -> None:
        while not over.wait(SAMPLE_S):
            usage.sample()
            with suppress(OSError):
                if (count := jobs()) > handed.jobs:
                    handed.last, handed.jobs = time.monotonic() - began, count
                    handed.first = handed.first or handed.last

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield handed
    finally:
        over.set()
        thread.join()
