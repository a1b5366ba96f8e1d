"""A job's checkpoints at the DVC remote: sent while it trains, fetched by the machine that goes on with it.

They are at genai/checkpoints/KEY below the remote's address; KEY stands for the job's inputs. A checkpoint's file is
written once, under a name that has its own hash (genai_core/training/checkpoint.py), so a file that is there and has
the right size is complete, and what reads it checks it again.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.beside import beside
from flows.executors.own_files import OwnFiles

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

FOLDER = "checkpoints"  # of all jobs, at the remote
CHECKPOINTS = Path(".genai/checkpoints")  # of all jobs, in a checkout
POLL_S = 2.0
_NAME = re.compile(r"\w[^/]*/\w[^/]*")  # a file in a folder of a run
_SAVE = re.compile(r"step-\d+-save-(?P<save>\d+)-[0-9a-f]{64}\.pt")  # genai_core/training/checkpoint.py


class RemoteCheckpoints:
    """The checkpoints of one job. folder: where the job writes them, each in a folder of its run."""

    def __init__(self, store: "HashFileDB", key: str, folder: Path) -> None:
        self._files, self._folder = OwnFiles(store, f"{FOLDER}/{key}"), folder
        self._may_be_there = True

    def fetch(self) -> int:
        """Fetch what is newer than the checkpoints here, and return the number of files. Raises UnreachableError.

        A training goes on from its newest one, so older ones would be of no use.
        """
        fetched, there = 0, self._files.sizes()
        newest = {run.name: max(map(_save, run.iterdir()), default=0) for run in self._runs()}
        self._may_be_there = bool(there)
        for name, size in there.items():
            if not _NAME.fullmatch(name):  # at an object store, the name of a file may have `..` in it
                continue
            target = self._folder / name
            if _save(target) < newest.get(target.parent.name, 0):
                continue
            if target.is_file() and target.stat().st_size == size:
                continue
            self._files.fetch(name, target)
            fetched += 1
        return fetched

    @contextmanager
    def sent(self, say: Callable[[str], None]) -> Iterator[None]:
        """Send new checkpoints while the body runs, and the last one after it, unless it ended without an error.

        In a thread, so that the training does not wait. It sends for half of the time at most: a slow network is not
        filled by it. say: receives a line for each failure; the training goes on.
        """

        def keep_sending(over: threading.Event) -> None:
            pause_s = POLL_S
            while not over.wait(pause_s):
                began = time.monotonic()
                self._tried(say)
                pause_s = max(POLL_S, time.monotonic() - began)

        try:
            with beside(keep_sending):
                yield
        except BaseException:
            self._tried(say)  # an interrupted training has saved one more
            raise

    def send(self) -> None:
        """Send the newest checkpoint of each folder, and delete those at the remote that are no longer here."""
        there = self._files.sizes()
        for run in self._runs():
            files = sorted((path for path in run.iterdir() if path.name[0] != "."), key=_age)
            for path in files[-1:]:
                name = f"{run.name}/{path.name}"
                if there.get(name) != path.stat().st_size:
                    self._may_be_there = True
                    self._files.send(path, name)
                    there = self._files.sizes()
            if files and there.get(f"{run.name}/{files[-1].name}") == files[-1].stat().st_size:
                self._delete_old(run.name, {path.name for path in files}, there)

    def delete(self) -> None:
        """Delete all: the job has its result. Without a request if there was nothing, and nothing was sent."""
        if self._may_be_there:
            self._files.delete_all()

    def _runs(self) -> list[Path]:
        return [path for path in self._folder.glob("*") if path.is_dir()]

    def _tried(self, say: Callable[[str], None]) -> None:
        try:
            self.send()
        except Exception as error:
            say(f"a checkpoint could not be sent: {error}")

    def _delete_old(self, run: str, here: set[str], there: dict[str, int]) -> None:
        names = [name for name in there if name.startswith(f"{run}/") and name.removeprefix(f"{run}/") not in here]
        self._files.delete(names)


def _save(checkpoint: Path) -> int:
    """The number of the save that wrote a checkpoint: a later one has a higher number. 0 if its name has none."""
    match = _SAVE.fullmatch(checkpoint.name)
    return int(match["save"]) if match else 0


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name
