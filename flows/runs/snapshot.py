"""A snapshot: a commit, on no branch, of the workspace's present contents. Later edits do not affect the run.

The workspace is not changed, nor is its index: a snapshot has its own index.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.git import GitError, commit_of, git, printable
from flows.process import scratch_folder

REFS = "refs/genai/runs/"

# For new files that git does not know yet: code and settings are small. Larger files, and files among the data, are for
# `genai data add` or `dvc add`; a snapshot would copy them into git's objects.
MAX_NEW_BYTES = 10_000_000
DATA = "data/"
_TRACKED_BY_DVC = (f":(glob){DATA}**/*.dvc", f":(glob){DATA}**/.gitignore")

# Time and author are those of the parent, or fixed: the same contents make the same commit.
NOBODY = {"GIT_AUTHOR_NAME": "genai", "GIT_AUTHOR_EMAIL": "genai@localhost"}
NOBODY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in NOBODY.items()}
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Snapshot:
    """What a run works on.

    commit: HEAD itself if nothing differs from it. base: HEAD, None before the first commit. branch: None if
    HEAD is detached. changed: paths that differ from `base`. left_out: new files that are too large for git.
    """

    commit: str
    tree: str
    base: str | None
    branch: str | None
    changed: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user: the files that the snapshot lacks."""
        why = f"new and larger than {MAX_NEW_BYTES / 1e6:.0f} MB"
        return tuple(f"not in the snapshot: {printable(name)} ({why})" for name in self.left_out)


def take_snapshot(workspace: Path) -> Snapshot:
    """Commit all files that are tracked, or new and not ignored. Raises GitError, also without a git repository."""
    base = _head(workspace)
    new, left_out = _new_files(workspace)
    with _own_index(workspace) as index:
        git(workspace, "add", "--update", ":/", environment=index)
        if new:
            # --remove: a file that an editor has removed since is not an error.
            names = "\0".join(new) + "\0"
            git(workspace, "update-index", "--add", "--remove", "-z", "--stdin", text=names, environment=index)
        tree = git(workspace, "write-tree", environment=index).strip()
    branch = _branch(workspace)
    if base is not None and git(workspace, "rev-parse", f"{base}^{{tree}}").strip() == tree:
        return Snapshot(base, tree, base, branch, (), left_out)
    return Snapshot(_commit(workspace, tree, base), tree, base, branch, _changed(workspace, base, tree), left_out)


def keep_snapshot(workspace: Path, run: str, snapshot: Snapshot) -> None:
    """Protect the commit from git's garbage collection while the run is recorded. Raises GitError."""
    git(workspace, "update-ref", f"{REFS}{run}", snapshot.commit)


def forget_snapshot(workspace: Path, run: str) -> None:
    """Let git collect the commit, unless something else names it. Raises GitError."""
    git(workspace, "update-ref", "-d", f"{REFS}{run}")


def _head(workspace: Path) -> str | None:
    try:
        return commit_of(workspace)
    except GitError:
        try:
            git(workspace, "rev-parse", "--git-dir")
        except GitError as error:
            if "not a git repository" not in str(error):  # there is one, but git cannot read it
                raise GitError(f"{workspace}: {error}") from None
            raise GitError(
                f"{workspace}: no git repository here, and a run works on a commit of the workspace; make one: git init"
            ) from None
        return None  # before the first commit


def _branch(workspace: Path) -> str | None:
    try:
        return git(workspace, "symbolic-ref", "--quiet", "--short", "HEAD").strip()
    except GitError:
        return None


def _new_files(workspace: Path) -> tuple[list[str], tuple[str, ...]]:
    """Untracked files that belong in a snapshot, and those that are too large for one."""
    listed = git(
        workspace,
        "ls-files",
        "--others",
        "--exclude-standard",
        "-z",
        "--",
        ".",
        f":(exclude){DATA}**",
        ":(exclude).genai/**",
    )
    names = [name for name in listed.split("\0") if name and not name.endswith("/")]  # "x/" is another repository
    tracked = git(workspace, "ls-files", "--others", "--exclude-standard", "-z", "--", *_TRACKED_BY_DVC)
    names += [name for name in tracked.split("\0") if name]
    left_out = tuple(name for name in names if _size(workspace / name) > MAX_NEW_BYTES)
    return [name for name in names if name not in left_out], left_out


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # removed since it was listed; git decides then
        return 0


@contextmanager
def _own_index(workspace: Path) -> Iterator[Mapping[str, str]]:
    """Copy git's index, which has the times of unchanged files, so that git reads only changed ones.

    The copy keeps the index's time: git reads a file again if it was written in the same second or later.
    """
    index = Path(git(workspace, "rev-parse", "--path-format=absolute", "--git-path", "index").strip())
    with scratch_folder("genai-snapshot-") as folder:
        copy = folder / "index"
        if index.is_file():
            shutil.copy2(index, copy)
        yield {"GIT_INDEX_FILE": str(copy)}


def _commit(workspace: Path, tree: str, base: str | None) -> str:
    when = git(workspace, "show", "--no-patch", "--format=%cI", base).strip() if base else _EPOCH
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    parents = ["-p", base] if base else []
    message = "Snapshot of a workspace, for a run"
    return git(workspace, "commit-tree", tree, *parents, "-m", message, environment={**NOBODY, **dates}).strip()


def _changed(workspace: Path, base: str | None, tree: str) -> tuple[str, ...]:
    if base is None:
        return ()
    listed = git(workspace, "diff-tree", "-r", "-z", "--name-only", "--no-renames", base, tree)
    return tuple(name for name in listed.split("\0") if name)
