"""Decoding many files in worker processes that may die: the file that ends a worker is rejected, the rest goes on."""

import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import genai_core
from genai_core.data.decode import DecodeRule, Rejected
from genai_core.data.decode_worker import MAX_SECONDS_A_BATCH, RECORD, receive, send
from genai_core.data.places import NO_HASH, Place

BATCH_FILES = 64
# A process takes this long to start, and as much of the processor: as much as a thousand small images. Of fewer files
# that is most of the work, so the second one starts when the first has been at it for as long.
START_SECONDS = 0.1
FEW_FILES = 1024
# A batch of small images is answered sooner, the start of its process included; large ones need all processes at once.
ANSWER_SECONDS = 0.3
WORKER_MODULE = "genai_core.data.decode_worker"
# Quicker than -m; and what imports make stays, so that a look for garbage among it is in vain.
_START = "import gc; gc.disable(); from {} import main; gc.freeze(); gc.enable(); main()"

RECORD_DTYPE = np.dtype([("file_sha256", "u1", (32,)), ("sha256", "u1", (32,)), ("width", "<u4"), ("height", "<u4")])


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """What became of the files first, first + 1, ... of those that were asked for.

    records: RECORD_DTYPE (n,), zeros where there is nothing. pixels: (m, C, H, W) uint8 of the m files that were
    decoded, in order. flags and rejected: by index in the batch, for the files that have them.
    """

    first: int
    records: npt.NDArray[np.void]
    pixels: npt.NDArray[np.uint8]
    flags: dict[int, tuple[str, ...]]
    rejected: dict[int, Rejected]


def decode_files(
    places: Sequence[Place],
    rule: DecodeRule,
    *,
    workers: int,
    started: Sequence["Worker"] = (),
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[BatchResult]:
    """Decode images, wherever they are, in `workers` processes; batches come as they end.

    started: workers of the same rule that were started beforehand. meanwhile: is done once the workers are at it.
    Raises RuntimeError when a worker cannot even start.
    """
    batches: queue.SimpleQueue[int] = queue.SimpleQueue()
    for first in range(0, len(places), BATCH_FILES):
        batches.put(first)
    # Bounded: results wait for the caller, not in memory.
    results: queue.Queue[BatchResult | BaseException] = queue.Queue(maxsize=2 * workers)
    pool = [*started, *(Worker(rule) for _ in range(workers - len(started)))][: min(workers, batches.qsize())]

    has_answered, all_taken = threading.Event(), threading.Event()

    def feed(worker: Worker, delay_s: float) -> None:
        try:
            if delay_s and has_answered.wait(ANSWER_SECONDS):
                all_taken.wait(delay_s)
            while True:
                first = batches.get_nowait()
                result = worker.answer(first, places[first : first + BATCH_FILES])
                has_answered.set()
                results.put(result)
        except queue.Empty:
            all_taken.set()
        except BaseException as error:  # raised again in the caller's thread
            results.put(error)
        finally:
            has_answered.set()
            worker.close()

    delay_s = START_SECONDS if len(places) < FEW_FILES else 0.0
    threads = [
        threading.Thread(target=feed, args=(worker, number * delay_s), daemon=True)
        for number, worker in enumerate(pool)
    ]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
        for _ in range(0, len(places), BATCH_FILES):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        # After an error, or when the caller wants no more: threads end with their process, or at a full queue.
        for worker in pool:
            worker.kill()
        for thread in threads:
            while thread.is_alive():
                with suppress(queue.Empty):
                    results.get_nowait()
                thread.join(0.001)


class Worker:
    """One worker process, started when it is needed and again when it has died. Used by one thread, but for kill()."""

    def __init__(self, rule: DecodeRule) -> None:
        self._rule = rule
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None  # until the process has said that it is ready
        self._killed = False

    def answer(self, first: int, places: Sequence[Place]) -> BatchResult:
        """The results of a batch. When the worker dies on it, file by file, to find the one that did it."""
        messages = self._ask(places)
        if messages is not None:
            return _parse(first, messages, self._rule)
        if len(places) > 1:
            return _joined(first, [self.answer(index, [place]) for index, place in enumerate(places)])
        died = f"crashed, ran out of memory, or took more than {MAX_SECONDS_A_BATCH} s"
        empty = [RECORD.pack(NO_HASH, NO_HASH, 0, 0), b"", b'{"flags": {}, "rejected": {}}']
        return dataclasses.replace(_parse(first, empty, self._rule), rejected={0: Rejected("decoder_died", died)})

    def kill(self) -> None:
        """End the process for good; the thread that uses the worker sees that and closes it."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def start(self) -> None:
        """Start the process, without waiting for it to be ready."""
        # What is found by imports here is found there; without `site`, which takes as long as the interpreter itself.
        root = str(Path(genai_core.__file__).parent.parent)
        search_path = os.pathsep.join([root, *filter(None, sys.path)])
        # libtiff and libpng write to it about every bad file; it is read only when the worker cannot start.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is ready, or ends
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START.format(WORKER_MODULE), json.dumps(self._rule._asdict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": search_path},
        )

    def _ask(self, places: Sequence[Place]) -> list[bytes] | None:
        """The worker's answer, or None when it died."""
        process = self._ready()
        assert process.stdin is not None
        assert process.stdout is not None
        messages: list[bytes | None] = [None]
        with suppress(OSError):
            send(process.stdin, json.dumps(places).encode())
            messages = [receive(process.stdout) for _ in range(3)]
        if all(message is not None for message in messages):
            return [message for message in messages if message is not None]
        self.close()
        if self._killed:
            raise RuntimeError("decoding was stopped")
        return None

    def _ready(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self.start()
        assert self._process is not None
        process = self._process
        if self._stderr is not None:
            assert process.stdout is not None
            if self._killed or receive(process.stdout) is None:
                process.kill()
                process.wait()
                self._stderr.seek(0)
                said = self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
                self.close()
                raise RuntimeError(f"a decoding process did not start: {said or f'status {process.returncode}'}")
            self._stderr.close()
            self._stderr = None
        return process


def _parse(first: int, messages: Sequence[bytes], rule: DecodeRule) -> BatchResult:
    records = np.frombuffer(messages[0], dtype=RECORD_DTYPE)
    pixels = np.frombuffer(messages[1], dtype=np.uint8)
    rare: dict[str, dict[str, Any]] = json.loads(messages[2])
    return BatchResult(
        first,
        records,
        pixels.reshape(-1, rule.channels, rule.image_size, rule.image_size),
        {int(index): tuple(flags) for index, flags in rare["flags"].items()},
        {int(index): Rejected(*rejected) for index, rejected in rare["rejected"].items()},
    )


def _joined(first: int, parts: Sequence[BatchResult]) -> BatchResult:
    """Results of single files as one batch; `first` of each is its index in the batch."""
    return BatchResult(
        first,
        np.concatenate([part.records for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        {part.first: part.flags[0] for part in parts if part.flags},
        {part.first: part.rejected[0] for part in parts if part.rejected},
    )
