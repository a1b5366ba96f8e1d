"""Locks of a garbage collection: no run can begin during it, and the results of active runs are kept."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.collecting import collecting
from flows.file_lock import try_lock
from flows.gc.roots import CollectError
from flows.graph import open_repo

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def runs_blocked(folders: Iterable[Path]) -> Iterator[float | None]:
    """Block runs and retrainings in these checkouts: a new one waits until the body ends (flows/collecting.py).

    Yields when the oldest active one began, in seconds since the epoch, or None. A run writes its lock when it begins,
    and the kernel releases the lock when the run ends. Raises CollectError if another collection is running.
    """
    since: list[float] = []
    with ExitStack() as stack:
        for folder in filter(Path.is_dir, folders):  # the checkout of a run that has just ended may be gone
            if other := stack.enter_context(collecting(folder)):
                raise CollectError(f"another `genai gc` is running (process {other}); wait until it ends")
            for path in _locks(folder):
                try:
                    file = stack.enter_context(path.open("a+"))
                except FileNotFoundError:  # the folder of a run that was just forgotten
                    continue
                # Shared: a check whether a run is alive must not take this process for one.
                if not try_lock(file, shared=True):
                    since.append(os.fstat(file.fileno()).st_mtime)
        yield min(since, default=None)


@contextmanager
def locked_dvc(folder: Path) -> Iterator["Repo"]:
    """Lock a checkout's DVC repo: during the body, nothing adds outputs to the cache or writes dvc.lock.

    Raises CollectError or GraphError.
    """
    from dvc.lock import LockError

    with open_repo(folder) as repo, ExitStack() as stack:
        try:
            stack.enter_context(repo.lock)
        except LockError:
            raise CollectError(
                f"{folder}: another DVC command is active there; wait until it ends, then run `genai gc` again"
            ) from None
        yield repo


def _locks(folder: Path) -> list[Path]:
    own = folder / ".genai"
    own.mkdir(exist_ok=True)
    # A run that begins holds change.lock while it is planned, then its own lock.
    return [own / "change.lock", own / "run.lock", own / "retraining.lock", *sorted((own / "runs").glob("*/lock"))]
