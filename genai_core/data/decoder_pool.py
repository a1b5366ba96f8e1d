"""Decoding many files in worker processes that may die: the file that ends a worker is rejected, the rest goes on."""

import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import genai_core
from genai_core.data.decode import Decoded, DecodeRule, Rejected
from genai_core.data.decode_worker import MAX_SECONDS_A_FILE, receive, send

BATCH_FILES = 32
WORKER_MODULE = "genai_core.data.decode_worker"

Results = list[Decoded | Rejected]


def decode_files(paths: Sequence[Path], rule: DecodeRule, *, workers: int) -> Iterator[tuple[int, Results]]:
    """Decode files in `workers` processes; yields (index of a batch's first path, its results) as batches end.

    Raises RuntimeError when a worker cannot even start.
    """
    batches: queue.SimpleQueue[int] = queue.SimpleQueue()
    for first in range(0, len(paths), BATCH_FILES):
        batches.put(first)
    # Bounded: results wait for the caller, not in memory.
    results: queue.Queue[tuple[int, Results] | BaseException] = queue.Queue(maxsize=2 * workers)
    pool = [_Worker(rule) for _ in range(min(workers, batches.qsize()))]

    def feed(worker: _Worker) -> None:
        try:
            while True:
                first = batches.get_nowait()
                results.put((first, worker.decode(paths[first : first + BATCH_FILES])))
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
        for _ in range(0, len(paths), BATCH_FILES):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        # After an error, or when the caller wants no more: threads end with their process, or at a full queue.
        for worker in pool:
            worker.kill()
        while any(thread.is_alive() for thread in threads):
            with suppress(queue.Empty):
                results.get(timeout=0.02)


class _Worker:
    """One worker process, started when it is needed and again when it has died. Used by one thread, but for kill()."""

    def __init__(self, rule: DecodeRule) -> None:
        self._rule = json.dumps(dataclasses.asdict(rule))
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def decode(self, paths: Sequence[Path]) -> Results:
        """The results of a batch. When the worker dies on it, file by file, to find the one that did it."""
        results = self._ask(paths)
        if results is not None:
            return results
        if len(paths) > 1:
            return [result for path in paths for result in self.decode([path])]
        return [Rejected("decoder_died", f"crashed, ran out of memory, or took more than {MAX_SECONDS_A_FILE} s")]

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

    def _ask(self, paths: Sequence[Path]) -> Results | None:
        """The worker's answer, or None when it died."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        header = pixels = None
        with suppress(OSError):
            send(process.stdin, json.dumps([os.fspath(path) for path in paths]).encode())
            header, pixels = receive(process.stdout), receive(process.stdout)
        if header is not None and pixels is not None:
            return _parse(json.loads(header), pixels)
        self.close()
        if self._killed:
            raise RuntimeError("decoding was stopped")
        return None

    def _start(self) -> "subprocess.Popen[bytes]":
        root = str(Path(genai_core.__file__).parent.parent)
        search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with tempfile.TemporaryFile() as stderr:
            # libtiff and libpng write to it about every bad file; it is read only when the worker cannot start.
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER_MODULE, self._rule],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": search_path},
            )
            assert process.stdout is not None
            if self._killed or receive(process.stdout) is None:
                self.close()
                stderr.seek(0)
                said = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise RuntimeError(f"a decoding process did not start: {said or f'status {process.returncode}'}")
        return process


def _parse(answers: list[dict[str, Any]], pixels: bytes) -> Results:
    results: Results = []
    begin = 0
    for answer in answers:
        if "reason" in answer:
            results.append(Rejected(**answer))
        else:
            end = begin + answer.pop("bytes")
            results.append(Decoded(pixels[begin:end], **{**answer, "flags": tuple(answer["flags"])}))
            begin = end
    return results
