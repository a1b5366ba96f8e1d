"""What the routes share, made once per server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flows.serving.blind import Blind
from flows.serving.dispatcher import Dispatcher
from flows.serving.explored import Explored
from flows.serving.jobs import JobQueue
from flows.serving.metrics import Metrics
from flows.serving.models import Models


@dataclass
class Serving:
    """The served models, the queue before them, the counters, and threads for coding images."""

    models: Models
    queue: JobQueue
    dispatchers: list[Dispatcher]
    metrics: Metrics
    explored: Explored
    blind: Blind | None = None  # only where people vote
    ready: bool = False
    coders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="pictures"))

    @property
    def is_any_up(self) -> bool:
        """Whether a device can take jobs: they share the queue."""
        return any(dispatcher.is_up for dispatcher in self.dispatchers)

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        """Run a function that would block the event loop in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.coders, function, *arguments)

    async def each_in_thread(self, items: Iterator[Any]) -> AsyncIterator[Any]:
        """Yield each item, computed in one of the threads: others get their turn between two items.

        Nothing more is computed once nobody iterates any more.
        """
        end = object()
        while (item := await self.in_thread(next, items, end)) is not end:
            yield item
