"""A folder of its own for each command's unfinished work: nobody touches that of another command."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH = Path(".genai/scratch")
_LOCK = ".lock"


@contextmanager
def scratch_folder(root: Path, what: str) -> Iterator[Path]:
    """An empty folder below `root` for the length of the body; it is gone afterwards, however the body ends.

    What a killed command left goes when the next one asks for a folder here: the kernel has let go of its lock.
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
    """Remove the folders that nobody holds. To be called alone: a new folder has no lock for a moment."""
    for folder in filter(Path.is_dir, place.iterdir()):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # its owner is removing it, or the child of a dead one made it again
            shutil.rmtree(folder, ignore_errors=True)
            continue
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    """Not handed on to child processes: a lock ends with the process that took it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
