"""A checkout of its own for a run: a git worktree at a commit, DVC's cache shared, its results kept on a branch.

Nobody's working tree is touched, and two runs cannot meet. A run that was killed leaves its worktree, checkpoints and
all, and the next one on the same branch takes it up.
"""

import re
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.git import GitError, commit_of, git
from flows.graph import open_repo

PLACE = Path(".genai/worktrees")
# What a run makes or sets, and git holds: the rest is DVC's.
RESULTS = ("dvc.lock", "data", "metrics", "models", "params.yaml")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,63}){0,3}")


@dataclass(frozen=True)
class Worktree:
    """A checkout on a branch that nobody else has checked out. taken_up: an earlier run had left it."""

    folder: Path
    branch: str
    taken_up: bool


def branch_name(day: date, version: str) -> str:
    """retrain/<date>-<version>. Raises ValueError for a version that no branch can be named by."""
    if not _VERSION.fullmatch(version) or version.endswith(".lock"):
        raise ValueError(f"version {version!r}: expected letters, digits, '_', '-' and up to three dots between them")
    return f"retrain/{day.isoformat()}-{version}"


def open_worktree(workspace: Path, commit: str, branch: str) -> Worktree:
    """The worktree of `branch`: as it was left, else new at `commit`, or at the branch's end when it has one.

    Raises GitError, also when the branch is checked out elsewhere.
    """
    start = commit_of(workspace, commit)
    folder = workspace / PLACE / branch.replace("/", "-")
    if _is_on(folder, branch):
        return Worktree(folder, branch, taken_up=True)
    shutil.rmtree(folder, ignore_errors=True)  # half made: git had not registered it
    git(workspace, "worktree", "prune")
    known = git(workspace, "for-each-ref", "--format=%(refname)", f"refs/heads/{branch}").strip()
    git(
        workspace,
        "worktree",
        "add",
        "--quiet",
        *([str(folder), branch] if known else ["-b", branch, str(folder), start]),
    )
    _share_cache(workspace, folder)
    return Worktree(folder, branch, taken_up=False)


def commit_results(worktree: Worktree, message: str) -> str | None:
    """Commit what a run made, dvc.lock, *.dvc and figures, to the worktree's branch; None when nothing changed.

    Raises GitError.
    """
    there = [path for path in RESULTS if (worktree.folder / path).exists()]
    git(worktree.folder, "add", "--", *there)
    if not git(worktree.folder, "diff", "--cached", "--name-only"):
        return None
    git(worktree.folder, "commit", "--quiet", "--no-verify", "--message", message)
    return commit_of(worktree.folder)


def remove_worktree(workspace: Path, worktree: Worktree) -> None:
    """Remove the checkout with all that was not committed; branch and cache keep what was. Raises GitError."""
    git(workspace, "worktree", "remove", "--force", str(worktree.folder))


def _is_on(folder: Path, branch: str) -> bool:
    """Whether a whole worktree lies there; the local config is the last thing that is written."""
    if not (folder / ".dvc" / "config.local").is_file():
        return False
    try:
        return git(folder, "symbolic-ref", "--short", "HEAD").strip() == branch
    except GitError:
        return False


def _share_cache(workspace: Path, folder: Path) -> None:
    """The workspace's cache and local settings (keys of a remote, for one) for the worktree."""
    from dvc.config import Config

    with open_repo(workspace) as repo:
        cache, site = str(Path(repo.cache.local.path).parents[1]), repo.config["core"].get("site_cache_dir")
        settings = repo.config.load_one("local")
    settings.setdefault("cache", {})["dir"] = cache
    if site:
        settings.setdefault("core", {})["site_cache_dir"] = site
    with Config(str(folder / ".dvc")).edit("local") as own:
        own.update(settings)
