"""Takes jobs from the queue to the process of one device, in batches; replaces the process when it dies."""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from flows.serving.background import in_background
from flows.serving.batches import combined, error_of, hand_out, refuse, show
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.jobs import Job, JobQueue
from flows.serving.model_process import ModelProcess, ProcessEnded
from flows.serving.room import Coming, Room
from genai_core import GenaiError
from genai_core.serving.frames import PROTOCOL
from genai_core.serving.shares import IMAGES_A_THREAD, share

log = logging.getLogger("genai.serve")

MOST_ATTEMPTS = 2
# Kinds of errors that one job of a batch may cause for all, such as a start picture whose pixels are damaged.
FAULTS_OF_ONE = ("input", "internal")
# Pauses between starts of a process that ends before it has loaded its models.
PAUSES_S = (0.0, 1.0, 5.0, 15.0)


class LoadError(Exception):
    """The process cannot load a model; the message says why. `code` is for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Dispatcher:
    """One device: its process, the generations that it holds, and its share of the queue."""

    def __init__(
        self,
        queue: JobQueue,
        first: ModelProcess,
        start: Callable[[], ModelProcess],
        largest_batch_images: int,
        on_batch: Callable[[Generation, int, float], None],
        lay_out: Callable[[Generation], None],
        is_any_up: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._start = start
        self._largest_batch_images = largest_batch_images
        self._held: dict[str, Generation] = {}
        self._process = first
        self._room = Room()
        self._threads = 1  # of a processor, which are divided among batches
        self._coming = Coming()
        self._up = asyncio.Event()
        self.device = ""
        self.gpu: dict[str, int] = {}
        self.restarts = 0
        self._on_batch = on_batch
        self._lay_out = lay_out
        self._is_any_up = is_any_up
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def open(self, generations: Sequence[Generation]) -> None:
        """Load models into the first process and begin to work. Raises LoadError, ProcessEnded."""
        await self._process.connect()
        for generation in generations:
            await self.load(generation)
        self._up.set()
        self._keep(self._watch())
        self._keep(self._work())

    async def load(self, generation: Generation) -> None:
        """Load a model into the running process. Raises LoadError, ProcessEnded."""
        await self._ask_to_load(generation)
        self._held[generation.key] = generation

    async def _ask_to_load(self, generation: Generation) -> None:
        reply = await self._process.ask(
            "load", {"model": generation.key, "folder": str(generation.folder), "sha256": generation.sha256}
        )
        if not reply.header["ok"]:
            raise LoadError(reply.header["message"], reply.header.get("code", "model_unusable"))
        if reply.header.get("protocol") != PROTOCOL:  # older code has none
            message = "the code in this workspace is of another version than this `genai`; run the workspace's own"
            raise LoadError(message, "other_version")
        description, self.device, self._threads = (reply.header[name] for name in ("model", "device", "threads"))
        generation.description, generation.sha256 = description, description["sha256"]
        self._room.size = 2 if self.device.startswith("cuda") else self._threads

    async def unload(self, generation: Generation) -> None:
        """Let the process drop a model."""
        self._held.pop(generation.key, None)
        with suppress(ProcessEnded):  # the next process does not load it
            await self._process.ask("unload", {"model": generation.key})

    def kill(self) -> None:
        """End the process at once, and start no other one."""
        self._cancel()
        self._process.kill()

    async def close(self) -> None:
        """Stop working and end the process."""
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._process.end()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _keep(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            await self._room.free()
            await self._up.wait()
            if not self._room.is_empty:
                images = self._queue.images + self._coming.images
                await self._queue.gather(min(images, self._largest_batch_images), self._coming.until)
            jobs = await self._queue.take(self._most_images)
            # It may end the process again, and with it the batches running at the same time.
            alone = jobs[0].attempts > 0
            if alone:
                await self._room.empty()
            threads = self._threads_for(jobs)
            self._room.take(threads)
            self._keep(self._compute(jobs, threads))
            if alone:
                await self._room.empty()

    def _most_images(self, waiting: int) -> int:
        """Return how many images the next batch may have, of those that wait.

        If they are enough for several threads, each thread gets a batch of its own: one on two threads ends when the
        slower one does, and HTTP needs the cores too.
        """
        of_a_thread = max(IMAGES_A_THREAD, self._largest_batch_images // self._threads)
        return of_a_thread if waiting > of_a_thread else self._largest_batch_images

    def _threads_for(self, jobs: Sequence[Job]) -> int:
        """Return how many threads a batch gets: those that it can use, less those that what waits will use."""
        op, images = jobs[0].op, sum(job.images for job in jobs)
        wanted = share(op, images, self._threads)
        if op != "draw":
            return wanted
        spare = self._room.left - math.ceil(self._queue.images / IMAGES_A_THREAD)
        return max(1, min(wanted, spare))

    async def _compute(self, jobs: list[Job], threads: int) -> None:
        try:
            if self._up.is_set():
                await self._compute_on(self._process, jobs, threads)
            else:  # the process was replaced while this waited for jobs, and has not loaded its models yet
                self._queue.put_back(jobs)
        except ProcessEnded as end:
            self._retry(jobs, computing=end.computing)
        except Exception as error:
            log.exception("a batch failed")
            refuse(jobs, ApiError(500, f"internal error: {type(error).__name__}", code="internal"))
        finally:
            self._room.give_back(threads)

    async def _compute_on(self, process: ModelProcess, jobs: list[Job], threads: int) -> None:
        model, images = jobs[0].model, sum(job.images for job in jobs)
        if model.fault is not None:
            refuse(jobs, ApiError(409, model.fault, code="model_changed"))
            return
        values, blobs = combined(jobs)
        request = {"model": model.key, "threads": threads, **values}
        number, reply = process.send(jobs[0].op, request, blobs, lambda frame: show(jobs, frame))

        def ask_to_stop(_: object) -> None:
            if all(job.is_abandoned for job in jobs):
                process.cancel(number)

        for job in jobs:
            job.answer.add_done_callback(ask_to_stop)
        frame = await reply
        self.gpu = frame.header.get("gpu", self.gpu)
        if not frame.header["ok"]:
            if len(jobs) > 1 and frame.header["kind"] in FAULTS_OF_ONE:
                self._queue.put_back([job.alone() for job in jobs if not job.is_abandoned])
            else:
                refuse(jobs, error_of(frame.header))
            return
        if jobs[0].op == "draw":
            model.measured(frame.header["ms"], images)
            self._on_batch(model, images, frame.header["ms"])
            self._coming = Coming.after(jobs, frame.header["ms"])
        hand_out(jobs, frame)

    def _retry(self, jobs: list[Job], *, computing: bool) -> None:
        again = []
        for job in jobs:
            job.attempts += computing
            if job.attempts < MOST_ATTEMPTS:
                again.append(job)
                continue
            message = "the process that holds the model died twice on this request; try again, or change the request"
            refuse([job], ApiError(503, message, code="model_process_died", retry_after_s=10))
        self._queue.put_back([job for job in again if not job.is_abandoned])

    async def _watch(self) -> None:
        """Start a new process whenever one ends."""
        while True:
            await self._process.has_ended.wait()
            self._up.clear()
            log.warning("the model process %d ended; starting another one", self._process.pid)
            await self._replace()
            self._up.set()

    async def _replace(self) -> None:
        """Start processes until one has loaded every model that can be loaded."""
        for attempt in itertools.count():
            await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
            if attempt >= 2 and not self._is_any_up():  # another device can still take what waits
                error = ApiError(503, "the process that holds the model does not start", code="no_model_process")
                refuse(self._queue.drain(), error)
            try:
                await self._start_another()
                return
            except ProcessEnded:
                log.warning("the model process %d ended before it had loaded its models", self._process.pid)
            except Exception:  # such as no memory for a process; nobody else would start one later
                log.exception("a model process could not be started; trying again")

    async def _start_another(self) -> None:
        """End what is left of the process, start the next one, and load the models. Raises ProcessEnded, OSError."""
        await self._process.end()
        self._process = self._start()
        self.restarts += 1
        await self._process.connect()
        for generation in list(self._held.values()):
            await self._reload(generation)
            if generation.key not in self._held:  # unloaded meanwhile, perhaps before the process had loaded it
                await self._process.ask("unload", {"model": generation.key})

    async def _reload(self, generation: Generation) -> None:
        try:
            # `genai gc` removes versions that have not been in production for a day, also served ones.
            await in_background(self._lay_out, generation)
        except (GenaiError, OSError) as error:
            log.error("%s: %s", generation.name, error)
        if generation.key not in self._held:
            return
        try:
            await self._ask_to_load(generation)
        except LoadError as error:
            log.error("%s: %s", generation.name, error)
            generation.has_changed()
