"""Merge a retraining's branch into the branch that people work on, without touching their changes; push both."""

from dataclasses import dataclass
from pathlib import Path

from flows.dvc_lock import RAW_FILE
from flows.git import GitError, commit_of, git, remote_of
from flows.workspace import changing
from genai_core.config import ConfigError


@dataclass(frozen=True)
class Merged:
    """commit: the new end of the workspace's branch; None: unchanged. note: one line for the user."""

    commit: str | None
    note: str


def merge_into(workspace: Path, branch: str, retrained: str, title: str) -> Merged:
    """Merge the branch `retrained` into `branch`, the workspace's: a fast-forward if possible, else a merge commit.

    The working tree follows only if no change is lost. Otherwise nothing changes, and `note` has the command to run.
    Raises nothing: a promoted model is in production whatever happens to the branch.
    """
    by_hand = f"to merge it into {branch}: git merge {retrained}"
    try:
        with changing(workspace, "merge a retraining"):
            if git(workspace, "symbolic-ref", "--quiet", "--short", "HEAD").strip() != branch:
                return Merged(None, f"the checkout is no longer on {branch}; {by_hand}")
            commit = _merge_commit(workspace, retrained, title)
            _stage_equal_data(workspace, commit)
            git(workspace, "merge", "--quiet", "--ff-only", "--no-verify", commit)
            return Merged(
                commit, f"merged into {branch} ({commit[:7]}); `genai run` brings the files into this checkout"
            )
    except (GitError, ConfigError) as error:
        return Merged(None, f"{branch} was not changed ({error}); {by_hand}")


def push_branches(workspace: Path, names: list[str]) -> str:
    """Push branches to the git remote; return the result as one line. Raises nothing."""
    try:
        remote = remote_of(workspace)
    except GitError as error:
        return f"nothing was pushed: {error}"
    if remote is None:
        return "not pushed: there is no git remote, so the results are only on this machine (git remote add origin URL)"
    failed = []
    for name in names:  # one push each: a branch that somebody else moved must not stop the others
        try:
            git(workspace, "push", "--quiet", "--no-verify", remote, f"refs/heads/{name}:refs/heads/{name}")
        except GitError as error:
            failed.append(f"{name} was not pushed ({error}); to do it later: git push {remote} {name}")
    return "; ".join(failed) or f"pushed to {remote}: {', '.join(names)}"


def _merge_commit(workspace: Path, retrained: str, title: str) -> str:
    """The commit that contains both: a branch's end, or a merge commit made without a working tree."""
    here, there = commit_of(workspace), commit_of(workspace, retrained)
    common = git(workspace, "merge-base", here, there).strip()
    if common in (here, there):
        return there if common == here else here
    tree = git(workspace, "merge-tree", "--write-tree", "--no-messages", here, there).split()[0]
    return git(workspace, "commit-tree", tree, "-p", here, "-p", there, "-m", title).strip()


def _stage_equal_data(workspace: Path, commit: str) -> None:
    """Stage an uncommitted data/raw.dvc that equals the commit's, so that it does not block the merge."""
    path = workspace / RAW_FILE
    changed = path.is_file() and bool(git(workspace, "status", "--porcelain", "--", RAW_FILE))
    if changed and path.read_bytes() == git(workspace, "show", f"{commit}:./{RAW_FILE}").encode():
        git(workspace, "add", "--", RAW_FILE)
