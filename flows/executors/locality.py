"""Data locality: which machines have how many bytes of a job's inputs, so that it can go where most of them are.

A run knows what its own jobs have fetched or made, and where. What a cache has from earlier runs, it does not know.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from flows.data.outputs import StoredOutput
from flows.executors.machine import Machine
from flows.executors.shares import Offer, Share, fitting


@dataclass(frozen=True)
class Near:
    """A worker whose machine has some of a job's inputs, so many bytes of them. host: the machine's name."""

    worker: str
    size_bytes: int
    host: str


class Locality:
    """What the machines of one run have. Methods may be called from many threads. size: of an output, in bytes."""

    def __init__(self, size: Callable[[StoredOutput], int]) -> None:
        self._size = cache(size)
        self._machines: dict[str, Machine] = {}  # by the engine's name of a worker
        self._outputs: dict[Machine, dict[str, set[StoredOutput]]] = {}  # by the hash of the output
        self._lock = threading.Lock()

    def works_on(self, worker: str, machine: Machine) -> None:
        """A worker of the engine is on this machine."""
        with self._lock:
            self._machines[worker] = machine

    def add(self, machine: Machine, outputs: Iterable[StoredOutput]) -> None:
        """A machine has these outputs now, or these parts of them."""
        with self._lock:
            there = self._outputs.setdefault(machine, {})
            for output in outputs:
                there.setdefault(output.oid, set()).add(output)

    def near(self, reads: Sequence[StoredOutput], share: Share, offers: Iterable[Offer]) -> tuple[Near, ...]:
        """The workers where a job should go, best first; empty if there is no difference between them."""
        sizes = {read: self._size(read) for read in reads}
        workers = [offer.name for offer in suitable(share, offers)]
        with self._lock:
            machines = {worker: self._machines[worker] for worker in workers if worker in self._machines}
            found = [Near(worker, self._at(machine, sizes), machine.host) for worker, machine in machines.items()]
        return ranked(found, len(workers))

    def described(self, reads: Sequence[StoredOutput], machine: Machine, near: Sequence[Near]) -> str | None:
        """Why a job is on this machine, for people; None if nothing of what it reads is known to be anywhere."""
        sizes = {read: self._size(read) for read in reads}
        with self._lock:
            here, most = self._at(machine, sizes), near[0].size_bytes if near else 0
        if not max(here, most):
            return None
        said = f"placed on {machine.host}, which has {_amount(here)} of {_amount(sum(sizes.values()))} to read"
        return said if most <= here else f"{said}; {near[0].host} has {_amount(most)}, but no room"

    def _at(self, machine: Machine, sizes: Mapping[StoredOutput, int]) -> int:
        there = self._outputs.get(machine, {})
        return sum(
            size for read, size in sizes.items() if any(covers(output, read) for output in there.get(read.oid, ()))
        )


def suitable(share: Share, offers: Iterable[Offer]) -> list[Offer]:
    """The workers that a job may be drawn to. One with GPUs is left to the jobs that need them, if there are others."""
    able = fitting(share, offers)
    without = [offer for offer in able if offer.gpus == 0]
    return without if without and share.gpus == 0 else able


def ranked(near: Iterable[Near], count: int) -> tuple[Near, ...]:
    """Those that have something, most first. Empty if all `count` workers have the same: the engine decides then."""
    there = sorted((one for one in near if one.size_bytes), key=lambda one: (-one.size_bytes, one.worker))
    is_equal = len(there) == count and there[0].size_bytes == there[-1].size_bytes if there else True
    return () if is_equal else tuple(there)


def nearest(near: Sequence[Near], is_free: Callable[[Near], bool]) -> tuple[str, ...]:
    """Of the free workers those with most of the bytes, all if several have as much."""
    free = [one for one in near if is_free(one)]
    return tuple(one.worker for one in free if one.size_bytes == free[0].size_bytes)


def covers(there: StoredOutput, read: StoredOutput) -> bool:
    """Whether what a machine has of an output is all that a job reads of it."""
    if there.parts is None:
        return True
    return read.parts is not None and all(there.has(part) for part in read.parts)


def _amount(size_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= factor / 10:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes / 1e3:,.1f} kB"
