"""The remote of a checkout, kept open between transfers: to open it takes as long as some small ones."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flows.data.objects import UnreachableError
from flows.data.stores import opened_remote

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

Answer = TypeVar("Answer")
Move = Callable[["Repo", "HashFileDB"], Answer]

MAX_THREADS = 4  # each needs 0.2 to 0.3 s of the processor to open an S3 remote, and transfers in parallel by itself


class KeptRemote:
    """The default remote of a checkout, for one thread. It is opened when it is first used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._opened: tuple[Repo, HashFileDB] | None = None

    def use(self, move: Move[Answer]) -> Answer:
        """Return `move(repo, store)`. Raises RemoteError."""
        if self._opened is None:
            self._opened = self._stack.enter_context(opened_remote(self._folder, None))
        try:
            return move(*self._opened)
        except UnreachableError:
            self.close()  # a connection that broke stays broken, so the next use opens another one
            raise

    def close(self) -> None:
        self._opened = None
        self._stack.close()


class SharedRemote:
    """The default remote of a checkout, for many threads.

    DVC keeps an open database per thread that uses a repo. So a few threads of our own, which are started on demand, do
    the transfers of all others; each has the remote open.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lanes: list[_Lane] = []
        self._free: queue.LifoQueue[_Lane] = queue.LifoQueue()
        self._lock = threading.Lock()

    def use(self, move: Move[Answer]) -> Answer:
        """Return `move(repo, store)`, called in another thread. Waits while all of them work. Raises RemoteError."""
        lane = self._next()
        try:
            return lane.use(move)
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Close what is open. Nobody may use it meanwhile."""
        for lane in self._lanes:
            lane.close()
        self._lanes.clear()

    def _next(self) -> "_Lane":
        try:
            return self._free.get_nowait()
        except queue.Empty:
            with self._lock:
                if len(self._lanes) < MAX_THREADS:
                    self._lanes.append(lane := _Lane(self._folder))
                    return lane
        return self._free.get()


class _Lane:
    """A thread, and the remote that it has open."""

    def __init__(self, folder: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remote")
        self._remote = KeptRemote(folder)

    def use(self, move: Move[Answer]) -> Answer:
        return self._thread.submit(self._remote.use, move).result()

    def close(self) -> None:
        self._thread.submit(self._remote.close).result()
        self._thread.shutdown()
