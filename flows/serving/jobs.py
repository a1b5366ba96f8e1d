"""Jobs: what one request asks of a model, and the bounded queue in which they wait."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from genai_core.serving.shares import IMAGES_A_THREAD


class Abandoned(Exception):
    """Nobody waits for the job any more."""


@dataclass(frozen=True)
class Preview:
    """How this job's images look between two steps: `pixels` (N, C, H, W) uint8 as bytes."""

    shape: tuple[int, ...]
    pixels: bytes


@dataclass(frozen=True)
class Answer:
    """A job's result: the reply's values, and this job's own binary parts.

    ms: what the process computed for, with all that it was batched with; batch_images: how many images that were.
    """

    values: dict[str, Any]
    blobs: list[bytes]
    ms: float
    batch_images: int


@dataclass(eq=False)
class Job:
    """One request to a model.

    op and values: as the process gets them; values of a drawing are `sampling` and `drawings`, in which integers name
    binary parts. images: what it counts in the queue. key: equal keys may share a batch; None: never batched.
    """

    op: str
    model: Generation
    values: dict[str, Any]
    blobs: Sequence[bytes] = ()
    images: int = 1
    key: str | None = None
    on_preview: Callable[[Preview], None] | None = None
    attempts: int = 0
    answer: "asyncio.Future[Answer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def is_abandoned(self) -> bool:
        return self.answer.cancelled()

    def alone(self) -> "Job":
        """Share no batch from now on."""
        self.key = None
        return self


class JobQueue:
    """Waiting jobs in order of arrival, at most `limit` images of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._waiting: deque[Job] = deque()
        self._unanswered: set[Job] = set()
        self._arrived = asyncio.Event()
        self._closed = False

    @property
    def images(self) -> int:
        """Number of images that wait."""
        return sum(job.images for job in self._waiting if not job.is_abandoned)

    def put(self, job: Job) -> None:
        """Add a job at the end. Raises ApiError 429 when the queue is full, 503 when the server is stopping."""
        if self._closed:
            raise _stopping()
        waiting = self.images
        # An empty queue takes any job: otherwise one that is larger than the limit could never be served.
        if waiting and waiting + job.images > self.limit:
            raise ApiError(
                429,
                f"{waiting} images are waiting already, and the queue's limit is {self.limit}; try again later",
                code="queue_full",
                retry_after_s=self._drained_in(waiting, job.model),
            )
        self._waiting.append(job)
        self._unanswered.add(job)
        job.model.outstanding += 1
        job.answer.add_done_callback(lambda _: self._answered(job))
        self._arrived.set()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs whose process died at the head of the queue, whatever its length."""
        self._waiting.extendleft(reversed(jobs))
        self._arrived.set()

    async def take(self, most_images: Callable[[int], int]) -> list[Job]:
        """Wait for the first job, and return it with those behind it that may share its batch.

        most_images: from the number of images that wait then to how many the batch may have.
        """
        while True:
            while self._waiting and self._waiting[0].is_abandoned:
                self._waiting.popleft()
            if self._waiting:
                return self._batch(most_images(self.images))
            self._arrived.clear()
            await self._arrived.wait()

    async def gather(self, images: int, until: float) -> None:
        """Wait for so many images, or as many as fill a thread, but not beyond a time of the event loop's clock."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self.images < min(images, IMAGES_A_THREAD):
                    self._arrived.clear()
                    await self._arrived.wait()

    def drain(self) -> list[Job]:
        """Remove and return every waiting job."""
        jobs = [job for job in self._waiting if not job.is_abandoned]
        self._waiting.clear()
        return jobs

    def close(self) -> None:
        """Refuse new jobs, those that wait, and those that are being computed: the server is stopping."""
        self._closed = True
        self._waiting.clear()
        for job in self._unanswered:
            if not job.answer.done():
                job.answer.set_exception(_stopping())

    def _answered(self, job: Job) -> None:
        self._unanswered.discard(job)
        job.model.release()

    def _batch(self, largest_images: int) -> list[Job]:
        first = self._waiting.popleft()
        # One that was in a batch when a process died is tried alone: it may be the cause.
        if first.key is None or first.attempts:
            return [first]
        jobs, images = [first], first.images
        others: deque[Job] = deque()
        for job in self._waiting:
            if job.is_abandoned:
                continue
            if job.key == first.key and not job.attempts and images + job.images <= largest_images:
                jobs.append(job)
                images += job.images
            else:
                others.append(job)
        self._waiting = others
        return jobs

    @staticmethod
    def _drained_in(images: int, model: Generation) -> int:
        """Seconds until about half of the queue is done."""
        return max(1, min(60, round(0.5 * images * (model.ms_per_image or 0.0) / 1000)))


def _stopping() -> ApiError:
    return ApiError(503, "the server is stopping", code="stopping", retry_after_s=5)
