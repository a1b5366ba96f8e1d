"""A job's checkpoints at the DVC remote: sent while it trains, fetched by the machine that goes on with it.

They are at genai/checkpoints/KEY below the remote's address; KEY stands for the job's inputs. A checkpoint's file is
written once, under a name that has its own hash (genai_core/training/checkpoint.py), so a file that is there and has
the right size is complete, and what reads it checks it again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import unreachable

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

POLL_S = 2.0
_OBJECTS = "/files/md5"  # DVC's own objects, below the remote's address


class RemoteCheckpoints:
    """The checkpoints of one job. folder: where the job writes them, each in a folder of its run."""

    def __init__(self, store: "HashFileDB", key: str, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._root = f"{str(store.path).removesuffix(_OBJECTS)}/genai/checkpoints/{key}"

    def fetch(self) -> int:
        """Fetch what is not here, and return the number of files. Raises UnreachableError."""
        fetched = 0
        for name, size in self._there().items():
            target = self._folder / name
            if target.is_file() and target.stat().st_size == size:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            new = target.with_name(f".{target.name}.new")
            try:
                self._store.fs.get_file(f"{self._root}/{name}", str(new))
            except Exception as error:
                raise unreachable(self._store, error) from None
            new.replace(target)
            fetched += 1
        return fetched

    @contextmanager
    def sent(self, say: Callable[[str], None]) -> Iterator[None]:
        """Send new checkpoints while the body runs, and the last one after it, unless it ended without an error.

        In a thread, so that the training does not wait. It sends for half of the time at most: a slow network is not
        filled by it. say: receives a line for each failure; the training goes on.
        """
        over = threading.Event()

        def keep_sending() -> None:
            pause_s = POLL_S
            while not over.wait(pause_s):
                began = time.monotonic()
                self._tried(say)
                pause_s = max(POLL_S, time.monotonic() - began)

        thread = threading.Thread(target=keep_sending, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            over.set()
            thread.join()
            self._tried(say)  # an interrupted training has saved one more
            raise
        over.set()
        thread.join()

    def send(self) -> None:
        """Send the newest checkpoint of each folder, and delete those at the remote that are no longer here."""
        there = self._there()
        for run in (path for path in self._folder.glob("*") if path.is_dir()):
            files = sorted((path for path in run.iterdir() if path.name[0] != "."), key=_age)
            for path in files[-1:]:
                name = f"{run.name}/{path.name}"
                if there.get(name) != path.stat().st_size:
                    self._put(path, name)
                    there = self._there()
            if files and there.get(f"{run.name}/{files[-1].name}") == files[-1].stat().st_size:
                self._delete_old(run.name, {path.name for path in files}, there)

    def delete(self) -> None:
        """Delete all: the job has its result."""
        try:
            for name in self._there():
                self._store.fs.rm_file(f"{self._root}/{name}")
        except Exception as error:
            raise unreachable(self._store, error) from None

    def _tried(self, say: Callable[[str], None]) -> None:
        try:
            self.send()
        except Exception as error:
            say(f"a checkpoint could not be sent: {error}")

    def _delete_old(self, run: str, here: set[str], there: dict[str, int]) -> None:
        for name in there:
            folder, _, file = name.partition("/")
            if folder == run and file not in here:
                self._store.fs.rm_file(f"{self._root}/{name}")

    def _put(self, path: Path, name: str) -> None:
        try:
            self._store.fs.put_file(str(path), f"{self._root}/{name}")
        except FileNotFoundError:  # the training has replaced it meanwhile
            return
        except Exception as error:
            raise unreachable(self._store, error) from None

    def _there(self) -> dict[str, int]:
        """The sizes of the files at the remote, by their paths below the job's folder."""
        fs = self._store.fs
        try:
            fs.fs.invalidate_cache()  # of listings from before the last change
            paths = list(fs.find(self._root))
            sizes = [int(info["size"]) for info in fs.info(paths)] if paths else []
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise unreachable(self._store, error) from None
        prefix = f"{self._root.lstrip('/')}/"
        names = [path.lstrip("/").removeprefix(prefix) for path in paths]
        return dict(zip(names, sizes, strict=True))


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name
