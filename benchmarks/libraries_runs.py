"""What the comparisons with libraries share: a row of the table, and measuring two pieces of code in turns."""

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

HEAD = "| what | ours | against | its | ratio |\n|---|---|---|---|---|"

Clock = Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """The same work by this project's code and by a library. ours, theirs: medians in `unit`, of the clock or count."""

    what: str
    ours: float
    library: str
    theirs: float
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def compare(
    what: str,
    ours: Callable[[], object],
    library: str,
    theirs: Callable[[], object],
    *,
    rounds: int,
    clock: Clock = time.process_time,
    repeats: tuple[int, int] = (1, 1),
) -> Comparison:
    """Run both in turns; the median seconds of one piece of work.

    repeats: how many pieces of work a call of each does.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, taken, pieces in zip((ours, theirs), seconds, repeats, strict=True):
            gc.collect()
            began = clock()
            work()
            taken.append((clock() - began) / pieces)
    return Comparison(what, statistics.median(seconds[0]), library, statistics.median(seconds[1]))


def compare_processes(what: str, ours: str, library: str, theirs: str, *, rounds: int) -> Comparison:
    """The same for two Python programs: the processor's seconds of the whole process. Raises CalledProcessError."""
    return compare(
        what, lambda: run_python(ours), library, lambda: run_python(theirs), rounds=rounds, clock=children_cpu_seconds
    )


def run_python(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return answer.stdout


def children_cpu_seconds() -> float:
    """Of the processor, by this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(row: Comparison) -> str:
    """A row of the table below HEAD."""
    ours, theirs = quantity(row.ours, row.unit), quantity(row.theirs, row.unit)
    return f"| {row.what} | {ours} | {row.library} | {theirs} | {row.ratio:.2g} |"


def quantity(value: float, unit: str) -> str:
    """With three digits or so, and seconds in the unit that needs no zeros before them."""
    if unit != "s":
        return f"{value:,.0f} {unit}"
    factor, name = next((f, n) for f, n in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if value * f >= 1 or n == "µs")
    return f"{value * factor:.3g} {name}"
