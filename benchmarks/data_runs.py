"""What the measurements of raw and prepared data share. Without torch, whose own memory would count otherwise."""

import gc
import resource
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from genai_core.config import DataConfig, load_config
from genai_core.data.prepare.prepare import prepare

ROOT = Path(__file__).parents[1]
WORKERS = 2


@dataclass(frozen=True)
class Took:
    """Wall-clock and processor's seconds of a command."""

    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:7.2f} s ({self.cpu_seconds:5.2f})"


def median(values: list[Took]) -> Took:
    return Took(*(statistics.median(part) for part in zip(*((v.seconds, v.cpu_seconds) for v in values), strict=True)))


class Run:
    """One prepare: seconds by the wall's and the processor's clock, and the peak of memory, children included, where it
    was watched."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(
    raw: Path,
    out: Path,
    config: DataConfig,
    *,
    cache_folder: Path | None,
    indexes: Path | None = None,
    previous: Path | None = None,
    watch_memory: bool = False,
) -> Run:
    """watch_memory: also the peak; to look for children takes a processor 2 ms each time."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    done = Run()
    # Not within what is timed: with torch here, which prepare has no need of, to look for garbage takes 0.2 s and more.
    gc.collect()
    with peak_memory(done) if watch_memory else nullcontext():
        began, began_cpu = time.perf_counter(), cpu_seconds()
        prepare(raw, out, config, workers=WORKERS, previous=previous, cache_folder=cache_folder, indexes=indexes)
        done.seconds, done.cpu_seconds = time.perf_counter() - began, cpu_seconds() - began_cpu
    return done


@contextmanager
def peak_memory(done: Run) -> Iterator[None]:
    over = threading.Event()
    done.peak_mb = 0.0

    def watch() -> None:
        process = psutil.Process()
        while not over.wait(0.05):
            total = 0
            for part in (process, *process.children(recursive=True)):
                try:
                    total += part.memory_info().rss
                except psutil.Error:
                    continue
            done.peak_mb = max(done.peak_mb, total / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def write_png(raw: Path, images: np.ndarray, labels: np.ndarray, source: str = "fashion") -> None:
    for label in np.unique(labels):
        (raw / source / str(label)).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(raw / source / str(label) / f"{number:06d}.png")


def config_of(**changes: object) -> DataConfig:
    return load_config(ROOT / "params.yaml").data.model_copy(update=changes)


def cpu_seconds() -> float:
    """Of the processor, by this process and those of its children that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def files(folder: Path) -> dict[bytes, int]:
    """Sizes by content, as DVC's cache holds them."""
    return {(content := path.read_bytes()): len(content) for path in folder.rglob("*") if path.is_file()}


def folder_bytes(folder: Path) -> int:
    return sum(files(folder).values())


def grown_bytes(before: Path, after: Path) -> int:
    known = files(before)
    return sum(size for content, size in files(after).items() if content not in known)
