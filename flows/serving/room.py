"""How much the process of one device may have at once, and how long a batch waits for more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from flows.serving.jobs import Job

# A thread takes as long for one image as for 16. So it waits for those that may come, while others compute: at most
# this share of the last batch's time.
LONGEST_WAIT = 0.25


class Room:
    """Counts the threads that the batches on their way to a process take there.

    size: of a CPU, its threads. A batch is formed when a thread is free, so that later jobs can join it. 2 for a GPU:
    one batch computes, and the next one waits in the pipe, without a gap.
    """

    def __init__(self) -> None:
        self.size = 1
        self._taken = 0
        self._given_back = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._taken

    @property
    def left(self) -> int:
        """Threads that no batch takes."""
        return max(0, self.size - self._taken)

    async def free(self) -> None:
        """Wait until another batch may be sent."""
        while self._taken >= self.size:
            await self._change()

    async def empty(self) -> None:
        """Wait until no batch is on its way."""
        while not self.is_empty:
            await self._change()

    def take(self, threads: int) -> None:
        """Count a batch that takes so many threads."""
        self._taken += threads

    def give_back(self, threads: int) -> None:
        """Count it no longer."""
        self._taken -= threads
        self._given_back.set()

    async def _change(self) -> None:
        self._given_back.clear()
        await self._given_back.wait()


@dataclass(frozen=True)
class Coming:
    """What may come: clients that were answered together often ask again at once. until: of the event loop's clock."""

    images: int = 0
    until: float = 0.0

    @classmethod
    def after(cls, jobs: Sequence[Job], ms: float) -> "Coming":
        """What may come after a batch. One job is not waited for: nothing would be computed together."""
        if len(jobs) == 1:
            return cls()
        until = asyncio.get_running_loop().time() + LONGEST_WAIT * ms / 1000
        return cls(sum(job.images for job in jobs), until)
