"""Batches in which an image's pixels do not depend on the other images, bit for bit.

Measured on a CPU with AVX-512, all families, sizes, widths and odd latents (docs/drawing.md):

- Any batch size: nearly every image differs in the last digits of float32, because matrix kernels depend on the shape.
- Multiples of 4: equal for most networks, not for the narrowest.
- Multiples of 16: equal, at every position in the batch, if each kernel runs on one thread. With several threads the
  kernels divide the batch, and the borders, which depend on the number of threads, change a few images.

So on a CPU batches have 16, 32 or 64 images, filled up where there are fewer, each on one thread, several at a time.
The pixels thus do not depend on the number of threads either. On a GPU every batch has the same size.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import torch

CPU_BATCHES = (16, 32, 64)
GPU_BATCH = 64


@dataclass(frozen=True)
class Batch:
    """Images that are computed together: their places in the request, filled up to `size` rows with the last one."""

    places: tuple[int, ...]
    size: int

    @property
    def rows(self) -> tuple[int, ...]:
        return self.places + self.places[-1:] * (self.size - len(self.places))


def batches(places: Sequence[int], device: torch.device, threads: int) -> list[Batch]:
    """Divide the images at these places into batches; on a CPU the largest size that keeps all `threads` busy."""
    if device.type == "cpu":
        largest = max((size for size in CPU_BATCHES if size * threads <= len(places)), default=CPU_BATCHES[0])
    else:
        largest = GPU_BATCH
    parts = [tuple(places[first : first + largest]) for first in range(0, len(places), largest)]
    allowed = CPU_BATCHES if device.type == "cpu" else (GPU_BATCH,)
    return [Batch(part, next(size for size in allowed if size >= len(part))) for part in parts]


def run_batches(work: Callable[[Batch], None], planned: list[Batch], device: torch.device, threads: int) -> None:
    """Call `work` with each batch: on a CPU on several threads, each with its kernels on that thread alone.

    Raises the first error of a batch, after the running batches have finished.
    """
    if device.type != "cpu":
        for batch in planned:
            work(batch)
        return
    with _single_threaded_kernels():
        if len(planned) == 1 or threads == 1:
            for batch in planned:
                work(batch)
            return
        workers = min(threads, len(planned))
        with ThreadPoolExecutor(workers, initializer=_one_thread) as pool:
            waiting = [pool.submit(work, batch) for batch in planned]
            wait(waiting, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.result()


def _one_thread() -> None:
    # A thread's first operation takes the number that any thread has set last, and would undo a number set before it.
    torch.get_num_threads()
    torch.set_num_threads(1)


@contextmanager
def _single_threaded_kernels() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
