"""Retrainings that were killed between the promotion and the merge of their branch, by a note in their checkout.

Between the tags and the merge, the retraining generates a batch, which may take hours. It writes the note before the
tags, so the note counts only if the tags exist.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.git import GitError, git
from flows.json_file import write_json
from flows.registry.read import read_registry
from flows.runs.checkout import WORKTREES

_NOTE = Path(".genai/delivery.json")  # in the retraining's checkout


@dataclass(frozen=True)
class Delivery:
    """What to record and merge once a candidate is in production."""

    commit: str  # the promoted one
    into: str  # the user's branch
    device_hours: float
    reasons: tuple[str, ...]  # of the decision to retrain
    rules: tuple[dict[str, str], ...]  # of the gate, one row each


@dataclass(frozen=True)
class Unfinished:
    """A promotion whose branch is not merged yet. folder: the retraining's checkout, on `branch`."""

    folder: Path
    branch: str
    version: str
    delivery: Delivery

    @property
    def sentence(self) -> str:
        return (
            f"{self.version} was promoted by a retraining that was killed before {self.branch} was merged into "
            f"{self.delivery.into}"
        )


def write_delivery(folder: Path, delivery: Delivery) -> None:
    """Write a note in the retraining's checkout: what to do after the promotion."""
    write_json(folder / _NOTE, asdict(delivery))


def unfinished(workspace: Path) -> list[Unfinished]:
    """The unfinished promotions of this checkout, including one that a running retraining is finishing.

    Raises GitError.
    """
    found = []
    for note in sorted((workspace / WORKTREES).glob(f"retrain-*/{_NOTE}")):
        folder = note.parents[len(_NOTE.parts) - 1]
        try:
            values = json.loads(note.read_text())
            delivery = Delivery(**{**values, "reasons": tuple(values["reasons"]), "rules": tuple(values["rules"])})
            branch = git(folder, "symbolic-ref", "--short", "HEAD").strip()
        except (OSError, ValueError, TypeError, KeyError, GitError):
            continue  # partly written or partly removed
        version = read_registry(workspace).of_commit(delivery.commit)
        if version is not None:
            found.append(Unfinished(folder, branch, version.name, delivery))
    return found
