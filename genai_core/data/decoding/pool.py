"""Decode many files in worker processes that may die: a file that kills its worker is rejected, the rest continues."""

import dataclasses
import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.data.decoding.image import DecodeRule, Rejection
from genai_core.data.decoding.processes import Channel, DecoderProcesses
from genai_core.data.decoding.worker import MAX_SECONDS_PER_BATCH, RECORD, receive, send
from genai_core.data.raw.locations import NO_HASH, Location

BATCH_FILES = 64

RECORD_DTYPE = np.dtype([("file_sha256", "u1", (32,)), ("sha256", "u1", (32,)), ("width", "<u4"), ("height", "<u4")])


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """Results of the requested files first, first + 1, ...

    records: RECORD_DTYPE (n,), zeros for failed files. pixels: (m, C, H, W) uint8 of the m decoded files, in order.
    flags and rejected: by index in the batch, only for files that have them.
    """

    first: int
    records: npt.NDArray[np.void]
    pixels: npt.NDArray[np.uint8]
    flags: dict[int, tuple[str, ...]]
    rejected: dict[int, Rejection]


def decode_files(
    locations: Sequence[Location],
    rule: DecodeRule,
    *,
    workers: int,
    started: Sequence["Worker"] = (),
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[BatchResult]:
    """Decode images from files or packs in `workers` processes; batches are yielded as they finish.

    started: workers of the same rule that already run; the caller waits for their end. meanwhile: called once the
    workers are busy. Raises RuntimeError when a worker cannot start.
    """
    batches: queue.SimpleQueue[int] = queue.SimpleQueue()
    for first in range(0, len(locations), BATCH_FILES):
        batches.put(first)
    # Bounded: workers wait when the caller is slow, so results do not fill the memory.
    results: queue.Queue[BatchResult | BaseException] = queue.Queue(maxsize=2 * workers)
    pool = [*started] or start_workers(rule, min(workers, batches.qsize()))

    def feed(worker: Worker) -> None:
        try:
            while True:
                first = batches.get_nowait()
                results.put(worker.answer(first, locations[first : first + BATCH_FILES]))
        except queue.Empty:
            pass
        except BaseException as error:  # raised again in the caller's thread
            results.put(error)
        finally:
            worker.close()

    threads = [threading.Thread(target=feed, args=(worker,), daemon=True) for worker in pool]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
        for _ in range(0, len(locations), BATCH_FILES):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        # After an error, or when the caller stops early: threads end when their process does, or block on a full queue.
        for worker in pool:
            worker.kill()
        for thread in threads:
            while thread.is_alive():
                with suppress(queue.Empty):
                    results.get_nowait()
                thread.join(0.001)
        if not started:
            for worker in pool:
                worker.wait()


class Worker:
    """A worker process that is replaced when it dies. Used by one thread, except for kill()."""

    def __init__(self, rule: DecodeRule, processes: DecoderProcesses, channel: Channel) -> None:
        self._rule = rule
        self._first = self._processes = processes
        self._channel = channel
        self._is_ready = False
        self._is_open = True
        self._killed = False

    def answer(self, first: int, locations: Sequence[Location]) -> BatchResult:
        """Return the results of a batch. If the worker dies, ask again file by file to find the one that killed it."""
        messages = self._ask(locations)
        if messages is not None:
            return _parse(first, messages, self._rule)
        if len(locations) > 1:
            return _joined(first, [self.answer(index, [location]) for index, location in enumerate(locations)])
        died = f"crashed, ran out of memory, or took more than {MAX_SECONDS_PER_BATCH} s"
        empty = [RECORD.pack(NO_HASH, NO_HASH, 0, 0), b"", b'{"flags": {}, "rejected": {}}']
        return dataclasses.replace(_parse(first, empty, self._rule), rejected={0: Rejection("decoder_died", died)})

    def kill(self) -> None:
        """Kill the process and those started with it; it is not replaced. The thread that uses the worker notices."""
        self._killed = True
        self._processes.kill()

    def close(self) -> None:
        """End the process without waiting for it."""
        if self._is_open:
            self._is_open = False
            self._processes.give_back(self._channel)

    def wait(self) -> None:
        """Wait until the closed process has ended, together with all those started with it."""
        self._first.wait()
        self._processes.wait()

    def _ask(self, locations: Sequence[Location]) -> list[bytes] | None:
        """Return the worker's answer, or None if it died."""
        self._make_ready()
        messages: list[bytes | None] = [None]
        with suppress(OSError):
            send(self._channel.batches, json.dumps(locations).encode())
            messages = [receive(self._channel.answers) for _ in range(3)]
        if all(message is not None for message in messages):
            return [message for message in messages if message is not None]
        self.close()
        self._raise_if_killed()
        return None

    def _make_ready(self) -> None:
        if not self._is_open:
            if self._processes is not self._first:
                self._processes.wait()
            self._processes = DecoderProcesses(self._rule, 1)
            (self._channel,) = self._processes.channels
            self._is_ready, self._is_open = False, True
        self._raise_if_killed()
        if not self._is_ready:
            if receive(self._channel.answers) is None:
                raise RuntimeError(f"a decoding process did not start: {self._processes.why_not_started()}")
            self._is_ready = True

    def _raise_if_killed(self) -> None:
        if self._killed:
            raise RuntimeError("decoding was stopped")


def start_workers(rule: DecodeRule, count: int) -> list[Worker]:
    """Start this many processes without waiting for them to be ready."""
    if count == 0:
        return []
    processes = DecoderProcesses(rule, count)
    return [Worker(rule, processes, channel) for channel in processes.channels]


def _parse(first: int, messages: Sequence[bytes], rule: DecodeRule) -> BatchResult:
    records = np.frombuffer(messages[0], dtype=RECORD_DTYPE)
    pixels = np.frombuffer(messages[1], dtype=np.uint8)
    metadata: dict[str, dict[str, Any]] = json.loads(messages[2])
    return BatchResult(
        first,
        records,
        pixels.reshape(-1, rule.channels, *rule.image_size),
        {int(index): tuple(flags) for index, flags in metadata["flags"].items()},
        {int(index): Rejection(*rejected) for index, rejected in metadata["rejected"].items()},
    )


def _joined(first: int, parts: Sequence[BatchResult]) -> BatchResult:
    """Combine results of single files into one batch; `first` of each is its index in the batch."""
    return BatchResult(
        first,
        np.concatenate([part.records for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        {part.first: part.flags[0] for part in parts if part.flags},
        {part.first: part.rejected[0] for part in parts if part.rejected},
    )
