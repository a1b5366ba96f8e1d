"""Runs that are at work while the cache is looked through: none begins meanwhile, and what one made is left alone."""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.gc.roots import CollectError
from flows.graph import open_repo

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def none_begins(folders: Iterable[Path]) -> Iterator[float | None]:
    """Keep runs and retrainings from beginning in these checkouts; yields since when one has been at work, or None.

    In seconds since the epoch: a run writes its lock when it begins, and the kernel frees that when it has ended. Who
    wants to begin meanwhile waits.
    """
    since: list[float] = []
    with ExitStack() as stack:
        for path in (path for folder in folders for path in _locks(folder)):
            file = stack.enter_context(path.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                since.append(path.stat().st_mtime)
        yield min(since, default=None)


@contextmanager
def locked_dvc(folder: Path) -> Iterator["Repo"]:
    """A checkout's DVC, which takes no stage's outputs into the cache meanwhile, and is not just writing dvc.lock.

    Raises CollectError or GraphError.
    """
    from dvc.lock import LockError

    with open_repo(folder) as repo, ExitStack() as stack:
        try:
            stack.enter_context(repo.lock)
        except LockError:
            raise CollectError(f"{folder}: another DVC command is at work there; wait for it, then again") from None
        yield repo


def _locks(folder: Path) -> list[Path]:
    own = folder / ".genai"
    own.mkdir(exist_ok=True)
    # Who begins a run holds change.lock while it is planned, and from then on the run's own.
    return [own / "change.lock", own / "run.lock", own / "retraining.lock", *sorted((own / "runs").glob("*/lock"))]
