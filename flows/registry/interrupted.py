"""Retrainings that were killed between the promotion and the merge of their branch, by a note in their checkout.

Between the tags and the merge, the retraining generates a batch, which may take hours. It writes the note before the
tags, so the note counts only if the tags exist.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.git import GitError, git
from flows.registry.read import read_registry
from flows.runs.checkout import WORKTREES, Worktree, project_in
from flows.whole_file import write_json

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
    """A promotion whose branch is not merged yet. worktree: the retraining's."""

    worktree: Worktree
    version: str
    delivery: Delivery

    @property
    def sentence(self) -> str:
        return (
            f"{self.version} was promoted by a retraining that was killed before {self.worktree.branch} was merged "
            f"into {self.delivery.into}"
        )


def write_delivery(folder: Path, delivery: Delivery) -> None:
    """Write a note in the retraining's checkout: what to do after the promotion."""
    write_json(folder / _NOTE, asdict(delivery))


def unfinished(workspace: Path) -> list[Unfinished]:
    """The unfinished promotions of this checkout, including one that a running retraining is finishing.

    Raises GitError.
    """
    found = []
    for root in sorted((workspace / WORKTREES).glob("retrain-*")):
        folder = project_in(workspace, root)
        try:
            values = json.loads((folder / _NOTE).read_text())
            delivery = Delivery(**{**values, "reasons": tuple(values["reasons"]), "rules": tuple(values["rules"])})
            branch = git(folder, "symbolic-ref", "--short", "HEAD").strip()
        except (OSError, ValueError, TypeError, KeyError, GitError):
            continue  # not promoted, or partly removed
        version = read_registry(workspace).of_commit(delivery.commit)
        if version is not None:
            found.append(Unfinished(Worktree(root, folder, branch, resumed=True), version.name, delivery))
    return found
