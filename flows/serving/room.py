"""How much the process of one device may have at once."""

import asyncio


class Room:
    """Counts the batches on their way to a process, and the threads that they take there.

    A batch is formed as late as possible, since more jobs may join it until then. So one goes to the process while it
    has a free thread. Where one batch takes them all, and on a GPU, the next one waits in the pipe: the device has no
    gap between them.
    """

    def __init__(self) -> None:
        self.threads = 1  # of the process; 1 for a GPU
        self._batches = self._taken = 0
        self._given_back = asyncio.Event()

    async def free(self) -> None:
        """Wait until another batch may be sent."""
        while self._batches >= 2 and self._taken >= self.threads:
            await self._change()

    async def empty(self) -> None:
        """Wait until no batch is on its way."""
        while self._batches:
            await self._change()

    def take(self, threads: int) -> None:
        """Count a batch that takes so many threads."""
        self._batches += 1
        self._taken += threads

    def give_back(self, threads: int) -> None:
        """Count it no longer."""
        self._batches -= 1
        self._taken -= threads
        self._given_back.set()

    async def _change(self) -> None:
        self._given_back.clear()
        await self._given_back.wait()
