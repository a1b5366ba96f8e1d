"""Checkouts of the workspace's repository: git worktrees that share DVC's cache, its settings and checkpoints.

Stages work there, never in a user's working tree. A run has its own detached checkout. A retraining has one on a
branch, where its results are committed.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.dvc_config import edited_config
from flows.dvc_lock import RAW_FILE
from flows.file_lock import try_lock
from flows.git import GitError, commit_of, git, prefix_of
from flows.graph import open_repo
from flows.whole_file import write_file
from genai_core.config import ConfigError

WORKTREES = Path(".genai/worktrees")
_LOCKS = Path(".genai/locks")  # of those worktrees that one process at a time may use
# What a run writes and git tracks. DVC tracks the rest.
RESULTS = ("dvc.lock", "data", "metrics", "models", "params.yaml")
# The names of caches and checkpoints contain all that affects them, so runs with other contents can share the folders.
SHARED = ("cache", "checkpoints", "follow")
# Links, unless the user's `cache.type` says otherwise: no user edits files there.
LINKS = ["reflink", "hardlink", "symlink", "copy"]
_HOME = Path(".genai/home")  # contains the workspace's path; written last, when the checkout is complete
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,63}){0,3}")
# The user's hooks (`dvc install` installs some) would check out data there, or fail.
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class Worktree:
    """A checkout on a branch that is not checked out elsewhere. resumed: an earlier run left it.

    root: the checkout. folder: the project in it, which is the same unless the project is in a subfolder.
    """

    root: Path
    folder: Path
    branch: str
    resumed: bool


def home_of(folder: Path) -> Path | None:
    """The workspace that a checkout was made for; None for a user's own checkout."""
    path = folder / _HOME
    text = path.read_text() if path.is_file() else ""
    return Path(text) if text else None


def project_in(workspace: Path, root: Path) -> Path:
    """The project's folder in a checkout of the workspace's repository. Raises GitError."""
    return root / prefix_of(workspace)


def branch_name(day: date, version: str) -> str:
    """Return retrain/<date>-<version>. Raises ValueError for a version that a branch name cannot contain."""
    if not _VERSION.fullmatch(version) or version.endswith(".lock"):
        raise ValueError(f"version {version!r}: expected letters, digits, '_', '-' and up to three dots between them")
    return f"retrain/{day.isoformat()}-{version}"


def open_worktree(workspace: Path, commit: str, branch: str) -> Worktree:
    """The worktree of `branch`: the existing one, else a new one at the branch's end, or at `commit` for a new branch.

    Raises GitError, also if the branch is checked out elsewhere, does not descend from `commit`, or is being rebased
    there.
    """
    start = commit_of(workspace, commit)
    root = workspace / WORKTREES / branch.replace("/", "-")
    folder = project_in(workspace, root)
    known = git(workspace, "for-each-ref", "--format=%(refname)", f"refs/heads/{branch}").strip()
    if known and git(workspace, "merge-base", start, known).strip() != start:
        raise GitError(
            f"the branch {branch} does not descend from {start[:7]}; remove it (git branch -D {branch}) or rename it"
        )
    if home_of(folder) is not None and is_worktree(root):
        if head_branch(root) != branch:
            raise GitError(
                f"{root} is not on {branch}; a rebase may be in progress there. Finish it, or remove the worktree: "
                f"git worktree remove --force {root}"
            )
        return Worktree(root, folder, branch, resumed=True)
    _add(workspace, root, [str(root), branch] if known else ["-b", branch, str(root), start], folder)
    return Worktree(root, folder, branch, resumed=False)


def open_detached(workspace: Path, commit: str, root: Path) -> Path:
    """A detached checkout of `commit` in `root`: the existing one, else a new one. Returns the project in it.

    Raises GitError.
    """
    start, folder = commit_of(workspace, commit), project_in(workspace, root)
    if home_of(folder) is not None and is_worktree(root) and commit_of(root) == start:
        return folder
    _add(workspace, root, ["--detach", str(root), start], folder)
    return folder


@contextmanager
def data_worktree(workspace: Path, commit: str, data_commit: str, name: str) -> Iterator[Path]:
    """A worktree of `commit` with data/raw.dvc of `data_commit`, removed when the body ends normally.

    If the body raises an error or is killed, it stays, and the next one with that name resumes it. So the body must not
    return early. Raises GitError, and ConfigError if another process uses the worktree of that name.
    """
    root = workspace / WORKTREES / name.replace("/", "-")
    lock = workspace / _LOCKS / f"{root.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        if not try_lock(file):
            raise ConfigError(f"{root}: another process works there; wait until it ends, or stop it")
        worktree = open_detached(workspace, commit, root)
        git(worktree, "checkout", "--quiet", data_commit, "--", RAW_FILE)
        yield worktree
        remove_worktree(workspace, root)


def commit_results(worktree: Worktree, message: str) -> str | None:
    """Commit a run's dvc.lock, *.dvc and figures to the worktree's branch; None if nothing changed.

    Raises GitError.
    """
    there = [path for path in RESULTS if (worktree.folder / path).exists()]
    git(worktree.folder, "add", "--", *there)
    if not git(worktree.folder, "diff", "--cached", "--name-only"):
        return None
    git(worktree.folder, "commit", "--quiet", "--no-verify", "--message", message)
    return commit_of(worktree.folder)


def remove_worktree(workspace: Path, folder: Path) -> None:
    """Remove a checkout with its uncommitted files; branch and cache keep the rest. Raises GitError."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(GitError):  # an incomplete one, which git does not know
        # --force twice also removes a worktree that a kill during `worktree add` left locked. Never `prune`: it would
        # forget the user's worktrees on a disk that is not mounted.
        git(workspace, "worktree", "remove", "--force", "--force", str(folder))


def is_worktree(folder: Path) -> bool:
    """Whether the folder itself is a checkout, and not only inside one."""
    try:
        return Path(git(folder, "rev-parse", "--show-toplevel").strip()) == folder.resolve()
    except GitError:
        return False


def head_branch(folder: Path) -> str | None:
    """The branch of a checkout; None if HEAD is detached, as in a rebase."""
    try:
        return git(folder, "symbolic-ref", "--quiet", "--short", "HEAD").strip()
    except GitError:
        return None


def _add(workspace: Path, root: Path, arguments: list[str], folder: Path) -> None:
    remove_worktree(workspace, root)  # it is incomplete, or of another commit
    git(workspace, *NO_HOOKS, "worktree", "add", "--quiet", *arguments)
    _share(workspace, folder)
    write_file(folder / _HOME, str(workspace))


def _share(workspace: Path, folder: Path) -> None:
    """Give a checkout the workspace's DVC cache and local settings (such as a remote's keys), and link SHARED."""
    from dvc.config import Config
    from dvc.config_schema import RelPath

    with open_repo(workspace) as repo:
        cache = str(Path(repo.cache.local.path).parents[1])
        settings, set_by_user = repo.config.load_one("local"), "type" in repo.config["cache"]
        # Paths of remotes in the tracked settings are relative to the workspace, such as `../storage`.
        for name, remote in repo.config.load_one("repo").get("remote", {}).items():
            paths = {key: str(value) for key, value in remote.items() if isinstance(value, RelPath)}
            if paths:
                settings.setdefault("remote", {})[name] = {**paths, **settings.get("remote", {}).get(name, {})}
    settings.setdefault("cache", {})["dir"] = cache
    if not set_by_user:
        settings["cache"]["type"] = LINKS
    # DVC's own index of hashes: in the checkout, so that both are removed together.
    settings.setdefault("core", {})["site_cache_dir"] = str(folder / ".dvc" / "tmp" / "site")
    with edited_config(Config(str(folder / ".dvc")), "local") as own:
        own.update(settings)
    (folder / ".genai").mkdir(exist_ok=True)
    for name in SHARED:
        (workspace / ".genai" / name).mkdir(parents=True, exist_ok=True)
        if not (folder / ".genai" / name).exists():
            (folder / ".genai" / name).symlink_to(workspace / ".genai" / name)
