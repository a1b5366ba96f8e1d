"""How long a graph of stages takes on a machine that runs several of them side by side."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One stage: its duration, the stages that it waits for, and its share of the machine."""

    seconds: float
    upstream: tuple[str, ...] = ()
    cores: int = 1
    gpus: int = 0


def makespan(jobs: Mapping[str, Job], cores: int, gpus: int = 0) -> float:
    """Return the seconds until all jobs are done: a job starts as soon as its upstream is done and its share is free.

    Of several that could start, the one with the shortest way to the end goes first: a run starts them in any order, so
    the least favourable one is assumed. A job that needs more than the
    machine has gets all of it, as in flows/resources.py. Jobs upstream that are not among `jobs` count as done.
    """
    way = _ways(jobs)
    waiting = sorted(jobs, key=lambda name: (way[name], name))
    running: dict[str, float] = {}
    done: set[str] = set()
    now, free_cores, free_gpus = 0.0, cores, gpus
    while waiting or running:
        for name in [*waiting]:
            job = jobs[name]
            needs = (min(job.cores, cores), min(job.gpus, gpus))
            ready = all(other in done or other not in jobs for other in job.upstream)
            if ready and needs[0] <= free_cores and needs[1] <= free_gpus:
                waiting.remove(name)
                running[name] = now + job.seconds
                free_cores, free_gpus = free_cores - needs[0], free_gpus - needs[1]
        ended = min(running, key=lambda name: running[name])
        now = running.pop(ended)
        done.add(ended)
        free_cores += min(jobs[ended].cores, cores)
        free_gpus += min(jobs[ended].gpus, gpus)
    return now


def _ways(jobs: Mapping[str, Job]) -> dict[str, float]:
    """Return the seconds from the start of each job to the end of the last one that depends on it."""
    found: dict[str, float] = {}

    def way(name: str) -> float:
        if name not in found:
            below = [other for other, job in jobs.items() if name in job.upstream]
            found[name] = jobs[name].seconds + max(map(way, below), default=0.0)
        return found[name]

    for name in jobs:
        way(name)
    return found
