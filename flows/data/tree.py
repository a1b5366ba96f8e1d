"""A version of the data in a checkout of its own, under the code and parameters of another commit."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.git import GitError, git
from flows.runs.checkout import open_worktree, remove_worktree
from flows.workspace import RAW_DATA


@contextmanager
def prepared_tree(workspace: Path, commit: str, data_commit: str, branch: str) -> Iterator[Path]:
    """A worktree at `commit` with data/raw.dvc of `data_commit`; gone, and its branch too, when the body ends well.

    When the body fails or is killed the worktree stays, and is taken up by the next one of that branch.
    Raises GitError.
    """
    tree = open_worktree(workspace, commit, branch)
    git(tree.folder, "checkout", "--quiet", data_commit, "--", f"{RAW_DATA}.dvc")
    yield tree.folder
    remove_worktree(workspace, tree)
    with suppress(GitError):
        git(workspace, "branch", "--quiet", "-D", branch)
