"""A retraining's own worktree: resumed after an interrupted retraining, opened anew for newer data or code."""

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from flows.dvc_lock import RAW_FILE, lock_at
from flows.git import GitError, commit_of, git
from flows.graph import open_repo
from flows.registry.interrupted import unfinished
from flows.retraining import RetrainError
from flows.retraining.facts import StartPoint
from flows.retraining.policy import Action
from flows.retraining.recipe import recipe_at
from flows.runs.checkout import (
    WORKTREES,
    Worktree,
    branch_name,
    head_branch,
    home_of,
    is_worktree,
    open_worktree,
    project_in,
    remove_worktree,
)
from flows.whole_file import write_file, write_json

_PURPOSE_FILE = Path(".genai/retraining.json")  # in the worktree


@dataclass(frozen=True)
class Purpose:
    """What a worktree was opened for. action: None until it is decided."""

    base: str
    raw: str
    champion: str
    action: Action | None = None


def check_can_start(workspace: Path, start: StartPoint) -> None:
    """Raise RetrainError now for what would stop the retraining hours later: git's identity, disk space."""
    try:
        git(workspace, "var", "GIT_AUTHOR_IDENT")
        git(workspace, "var", "GIT_COMMITTER_IDENT")
    except GitError as error:
        raise RetrainError(
            f"git has no author for commits ({error}); set: git config user.name NAME, git config user.email ADDRESS"
        ) from None
    lock = lock_at(workspace, start.commit)
    with open_repo(workspace) as repo:
        cache = Path(repo.cache.local.path)
    needed = 2 * sum(item.size_bytes for stage in lock.stages.values() for item in stage.outs)
    needed += sum(item.size_bytes for item in lock.sources)
    for folder in (workspace, cache):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise RetrainError(
                f"{folder}: {free / 1e9:.1f} GB free; a retraining may write {needed / 1e9:.1f} GB (twice what the "
                "last run wrote). Free some space: genai gc"
            )


def open_for_retraining(workspace: Path, start: StartPoint, champion: str, today: date) -> tuple[Worktree, Purpose]:
    """Resume the worktree that an interrupted retraining of this data left, or open a new one; remove all others.

    The interrupted one may have started from another commit with the same recipe (recipe.py).
    Raises GitError or RetrainError.
    """
    wanted = Purpose(start.commit, start.raw, champion)
    for left, purpose in _left_behind(workspace):
        if purpose is not None and _same_result(workspace, purpose, wanted):
            return open_worktree(workspace, purpose.base, left.branch), purpose
        close_worktree(workspace, left, purpose.base if purpose else wanted.base)
    worktree = open_worktree(workspace, start.commit, _free_name(workspace, today, start.raw))
    if start.uncommitted is not None:
        write_file(worktree.folder / RAW_FILE, start.uncommitted)
    write_purpose(worktree, wanted)
    return worktree, wanted


def write_purpose(worktree: Worktree, purpose: Purpose) -> None:
    write_json(worktree.folder / _PURPOSE_FILE, asdict(purpose))


def read_purpose(folder: Path) -> Purpose:
    """Raises RetrainError for a worktree that was not opened for a retraining."""
    try:
        return Purpose(**json.loads((folder / _PURPOSE_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        raise RetrainError(
            f"{folder}: {_PURPOSE_FILE} is missing or damaged, so this worktree's purpose is unknown"
        ) from None


def close_worktree(workspace: Path, worktree: Worktree, base: str | None) -> None:
    """Remove the worktree, and also its branch if it has no commit since `base`. Raises GitError."""
    without_commits = base is not None and commit_of(workspace, worktree.branch) == base
    remove_worktree(workspace, worktree.root)
    if without_commits:
        git(workspace, "branch", "--quiet", "-D", worktree.branch)


def _same_result(workspace: Path, old: Purpose, new: Purpose) -> bool:
    """Whether resuming gives the same result as a new start: the same data, champion and recipe."""
    if (old.raw, old.champion) != (new.raw, new.champion):
        return False
    return old.base == new.base or recipe_at(workspace, old.base) == recipe_at(workspace, new.base)


def _left_behind(workspace: Path) -> list[tuple[Worktree, Purpose | None]]:
    """The worktrees of retrainings that did not end. Purpose None: not recorded."""
    found: list[tuple[Worktree, Purpose | None]] = []
    delivered = {left.worktree.root for left in unfinished(workspace)}  # promoted: to be finished, not removed
    for root in sorted((workspace / WORKTREES).glob("retrain-*")):
        folder = project_in(workspace, root)
        if home_of(folder) is None or not is_worktree(root):
            remove_worktree(workspace, root)  # incomplete
            continue
        branch = head_branch(root)
        if branch is None or root in delivered:  # no branch: a rebase is in progress there
            continue
        try:
            purpose = read_purpose(folder)
        except RetrainError:
            purpose = None
        found.append((Worktree(root, folder, branch, resumed=True), purpose))
    return found


def _free_name(workspace: Path, today: date, raw: str) -> str:
    """A branch name that is unused here and at the git remote: the same data may be tried twice on one day."""
    name = branch_name(today, raw[:10])
    refs = git(workspace, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").split("\n")
    taken = {"/".join(ref.split("/")[-2:]) for ref in refs}
    return next(other for other in (name, *(f"{name}-{number}" for number in range(2, 1000))) if other not in taken)
