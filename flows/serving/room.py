"""How much the process of one device may have at once."""

import asyncio


class Room:
    """Counts the threads that the batches on their way to a process take there.

    size: of a processor, its threads. A batch goes there when a thread is free, and is formed no sooner, since more
    jobs may join it until then. 2 for a GPU: one batch computes, and the next one waits in the pipe, without a gap.
    """

    def __init__(self) -> None:
        self.size = 1
        self._taken = 0
        self._given_back = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._taken

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
