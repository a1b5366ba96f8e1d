"""A private folder for each command's unfinished work."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.file_lock import try_lock

SCRATCH = Path(".genai/scratch")
_LOCK = ".lock"


@contextmanager
def scratch_folder(root: Path, what: str) -> Iterator[Path]:
    """An empty folder below `root` for the body, removed however the body ends.

    The next command removes the folders of killed ones, whose locks the kernel has released.
    """
    place = (root / SCRATCH).resolve()
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        _sweep(place)
        folder = Path(tempfile.mkdtemp(prefix=f"{what}-", dir=place))
        lock = _open(folder / _LOCK)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(place: Path) -> None:
    """Remove the folders that no process holds. Call it under the lock: a new folder has none for a moment."""
    for folder in filter(Path.is_dir, place.iterdir()):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # its owner is removing it, or the child of a dead owner recreated it
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    lock = _open(place / _LOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open(path: Path) -> int:
    """Open a lock file. Child processes do not inherit it, so the lock ends with this process."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
