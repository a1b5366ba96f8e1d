"""The results of a run that is not completed, at the DVC remote: what its coordinator may die without having.

The worker writes genai/results/RUN/KEY as soon as all objects of the result are at the remote; KEY stands for the job's
inputs. Whoever takes the run over finds what is done, whatever became of the coordinator, the workers and the server.
"""

from typing import TYPE_CHECKING

from flows.executors.checkpoints import FOLDER as CHECKPOINTS
from flows.executors.order import Outcome, outcome_from
from flows.executors.own_files import OwnFiles

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

FOLDER = "results"  # of all runs


class OpenResults:
    """The results of one run. All methods raise UnreachableError."""

    def __init__(self, store: "HashFileDB", run: str) -> None:
        self._store, self._files = store, OwnFiles(store, f"{FOLDER}/{run}")

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a job that succeeded. All objects that it names must be at the remote."""
        self._files.write(outcome.key, outcome.text())

    def find(self, key: str) -> Outcome | None:
        """The outcome of a job; None if there is none, or if another version of this code wrote it."""
        text = self._files.read(key)
        if text is None:
            return None
        try:
            outcome = outcome_from(text)
        except (ValueError, TypeError):
            return None
        return outcome if outcome.key == key and outcome.entry is not None else None

    def close(self) -> None:
        """Delete the results of a completed run, and the checkpoints that late workers have sent for its jobs."""
        for key in self._files.sizes():
            OwnFiles(self._store, f"{CHECKPOINTS}/{key}").delete_all()
        self._files.delete_all()


def delete_forgotten(store: "HashFileDB") -> None:
    """Delete results and checkpoints of runs that nobody has continued for a long time. Raises UnreachableError."""
    for folder in (FOLDER, CHECKPOINTS):
        OwnFiles(store, folder).delete_old()
