"""A version of the data in a checkout of its own, under the code and parameters of another commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.git import git
from flows.runs.checkout import WORKTREES, open_detached, remove_worktree
from flows.workspace import RAW_DATA


@contextmanager
def prepared_tree(workspace: Path, commit: str, data_commit: str, name: str) -> Iterator[Path]:
    """A checkout of `commit` with data/raw.dvc of `data_commit`; gone when the body ends well.

    When the body fails or is killed it stays, and is taken up by the next one of that name. Raises GitError.
    """
    folder = workspace / WORKTREES / name.replace("/", "-")
    tree = open_detached(workspace, commit, folder)
    git(tree, "checkout", "--quiet", data_commit, "--", f"{RAW_DATA}.dvc")
    yield tree
    remove_worktree(workspace, folder)
