"""Resources of the machine that this process may use, within a container's limits (Linux cgroups, v1 and v2).

Neither the affinity nor the amount of memory shows these limits. A container of two cores and 8 GB sees all 64 cores
and 256 GB of its host, and is slowed down, or killed, for using them.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

_PROC = Path("/proc/self")


def usable_cores(proc: Path = _PROC) -> int:
    """Return the number of cores this process may use, limited by its CPU quota; at least one.

    The quota is rounded down: one more thread would be throttled for most of each period.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    quotas = [quota // period for quota, period in _cpu_quotas(proc) if quota > 0 and period > 0]
    return max(1, min([cores, *quotas]))


def usable_memory_bytes(proc: Path = _PROC) -> int:
    """Return the machine's memory, or the limit of this process's cgroup if that is lower."""
    limits = [
        int(text)
        for folder in _cgroups(proc, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdigit()  # no limit: "max" in v2, a huge number in v1
    ]
    return min([psutil.virtual_memory().total, *(limit for limit in limits if limit > 0)])


def _cpu_quotas(proc: Path) -> Iterator[tuple[int, int]]:
    """Yield (quota, period) in microseconds of CPU time, for every cgroup that limits it."""
    for folder in _cgroups(proc, "cpu"):
        words = _read(folder / "cpu.max").split()  # v2: "150000 100000", or "max 100000"
        words = words or [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]  # v1: -1 for none
        if len(words) == 2 and all(word.isdigit() for word in words):
            yield int(words[0]), int(words[1])


def _cgroups(proc: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroups, v1's for a controller and v2's, with their parents: all limit it."""
    own: dict[str, str] = {}
    for line in _read(proc / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))  # v2 has an empty controller name
    for line in _read(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2") or (kind == "cgroup" and controller not in options.split(",")):
            continue
        root, top = (_unescaped(word) for word in before.split()[3:5])
        path = own.get(controller if kind == "cgroup" else "", root)
        # Without its own namespace, a container sees the host's path, but only its part of the tree, mounted at `top`.
        folder = Path(top) / (os.path.relpath(path, root) if Path(path).is_relative_to(root) else ".")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _unescaped(word: str) -> str:
    """Unescape a word of mountinfo, which writes spaces as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _read(path: Path) -> str:
    """Read a file's text; empty if it does not exist: another system, or a cgroup without that controller."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
