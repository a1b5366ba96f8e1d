"""The retraining's own checkout: taken up where a killed one left it, made anew for newer data or code."""

import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from flows.git import commit_of, git
from flows.locked import RAW_FILE
from flows.registry.interrupted import unfinished
from flows.retraining.policy import Action
from flows.retraining.recipe import recipe_at
from flows.retraining.source import RetrainError, Source
from flows.runs.checkout import (
    PLACE,
    Worktree,
    branch_name,
    head_branch,
    home_of,
    is_worktree,
    open_worktree,
    remove_worktree,
)
from genai_core.config import PARAMS_FILE

_NOTE = Path(".genai/retraining.json")  # in the worktree: what it was opened for
_START = re.compile(r"(?m)(^finetune:.*\n(?:[ #].*\n|\n)*?  start: )(selected|champion)\b")


@dataclass(frozen=True)
class Purpose:
    """What a worktree was opened for. action: None until it is decided."""

    base: str
    raw: str
    champion: str
    action: Action | None = None


def open_checkout(workspace: Path, source: Source, champion: str, today: date) -> tuple[Worktree, Purpose]:
    """The worktree of a retraining of these data: as an earlier one left it, else new. Others that were left go.

    An earlier one's may be at another commit, where what shapes a result is the same (recipe.py).

    Raises GitError or RetrainError.
    """
    wanted = Purpose(source.commit, source.raw, champion)
    for folder, purpose in _left_behind(workspace):
        branch = str(head_branch(folder))
        if purpose is not None and _is_same(workspace, purpose, wanted):
            return open_worktree(workspace, purpose.base, branch), purpose
        close_checkout(workspace, Worktree(folder, branch, taken_up=True), purpose.base if purpose else wanted.base)
    tree = open_worktree(workspace, source.commit, _free_name(workspace, today, source.raw))
    if source.added is not None:
        (tree.folder / RAW_FILE).parent.mkdir(exist_ok=True)
        (tree.folder / RAW_FILE).write_bytes(source.added)
    write_purpose(tree, wanted)
    return tree, wanted


def _is_same(workspace: Path, old: Purpose, new: Purpose) -> bool:
    """Whether going on comes to the same as beginning anew: the same data, champion, and all that shapes a result."""
    if (old.raw, old.champion) != (new.raw, new.champion):
        return False
    return old.base == new.base or recipe_at(workspace, old.base) == recipe_at(workspace, new.base)


def write_purpose(tree: Worktree, purpose: Purpose) -> None:
    new = tree.folder / _NOTE.with_suffix(".new")
    new.parent.mkdir(exist_ok=True)
    new.write_text(json.dumps(asdict(purpose)))
    os.replace(new, tree.folder / _NOTE)


def read_purpose(tree: Worktree) -> Purpose:
    """Raises RetrainError for a worktree that nobody opened for a retraining."""
    try:
        return Purpose(**json.loads((tree.folder / _NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        raise RetrainError(f"{tree.folder}: {_NOTE} does not say what this checkout was opened for") from None


def close_checkout(workspace: Path, tree: Worktree, base: str | None) -> None:
    """Remove the worktree, and its branch where nothing was committed to it since `base`. Raises GitError."""
    bare = base is not None and commit_of(workspace, tree.branch) == base
    remove_worktree(workspace, tree.folder)
    if bare:
        git(workspace, "branch", "--quiet", "-D", tree.branch)


def set_start(tree: Worktree, start: str) -> None:
    """Write finetune.start into the worktree's params.yaml, every other byte kept. Raises RetrainError."""
    path = tree.folder / PARAMS_FILE
    text, found = _START.subn(rf"\g<1>{start}", path.read_text())
    if found != 1:
        raise RetrainError(f"{PARAMS_FILE}: finetune.start has no line of its own; write it as `  start: selected`")
    if text != path.read_text():
        path.write_text(text)


def _left_behind(workspace: Path) -> list[tuple[Path, Purpose | None]]:
    """The worktrees of retrainings that did not end; None: nobody wrote down what for."""
    found: list[tuple[Path, Purpose | None]] = []
    delivered = {left.folder for left in unfinished(workspace)}  # promoted, and to be finished, not to be removed
    for folder in sorted((workspace / PLACE).glob("retrain-*")):
        if home_of(folder) is None or not is_worktree(folder):
            remove_worktree(workspace, folder)  # half made
            continue
        if head_branch(folder) is None:
            continue  # somebody is in the middle of a rebase there
        if folder in delivered:
            continue
        try:
            found.append((folder, read_purpose(Worktree(folder, "", taken_up=True))))
        except RetrainError:
            found.append((folder, None))
    return found


def _free_name(workspace: Path, today: date, raw: str) -> str:
    """A branch that is neither here nor at the git remote: the same data may be tried twice on one day."""
    name = branch_name(today, raw[:10])
    refs = git(workspace, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").split()
    taken = {"/".join(ref.split("/")[-2:]) for ref in refs}
    return next(other for other in (name, *(f"{name}-{number}" for number in range(2, 1000))) if other not in taken)
