"""A lock per job: if two runs have the same job, one runs it. The other waits, then restores its result."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.file_lock import try_lock
from flows.process import Stopped
from flows.runs.job import Job, key_of

FOLDER = Path(".genai/jobs")
POLL_S = 0.2


@contextmanager
def locked_job(job: Job, home: Path, cancelled: Callable[[], bool], waits_for: Callable[[str], None]) -> Iterator[int]:
    """Lock the job among all runs of the workspace; yield a descriptor, for processes that must keep the lock too.

    Without the lock, two runs would write the same checkpoints. waits_for: receives the id of each run that does the
    job first. Raises Stopped if `cancelled()` is true before the lock is free.
    """
    path = home / FOLDER / key_of(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    reported = ""
    while not cancelled():
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        if _locked(descriptor, path):
            try:
                os.ftruncate(descriptor, 0)  # it may contain a killed run's id
                os.write(descriptor, job.run.encode())
                yield descriptor
            finally:
                path.unlink(missing_ok=True)  # while locked: a waiting run sees that its file is gone
                os.close(descriptor)
            return
        holder = os.pread(descriptor, 100, 0).decode()
        os.close(descriptor)
        if holder not in ("", reported):  # empty just after the other run has locked it
            waits_for(holder)
            reported = holder
        time.sleep(POLL_S)
    raise Stopped("the run was stopped before this stage began")


def remove_stale_locks(home: Path) -> None:
    """Remove the files that killed runs left."""
    for path in (home / FOLDER).glob("*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            if _locked(descriptor, path):
                path.unlink()
            os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    """Whether the lock is ours, on the file that is at `path` now."""
    with suppress(FileNotFoundError):
        return try_lock(descriptor) and os.fstat(descriptor).st_ino == path.stat().st_ino
    return False
