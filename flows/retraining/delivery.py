"""From the retraining's branch to the branch that people work on, without touching what they have changed."""

from dataclasses import dataclass
from pathlib import Path

from flows.git import GitError, commit_of, git, remote_of
from flows.locked import RAW_FILE
from flows.workspace import changing
from genai_core.config import ConfigError


@dataclass(frozen=True)
class Merged:
    """commit: where the workspace's branch is now; None: it was left as it was. said: one line for a person."""

    commit: str | None
    said: str


def merge_into(workspace: Path, branch: str, retrained: str, title: str) -> Merged:
    """Bring the branch `retrained` into `branch`, which the workspace is on: forward if that can be, else by a merge.

    The working tree follows only where nothing that somebody changed would be lost; else all is left as it was, and
    `said` says what to type. Raises nothing: a promoted model is in production whatever becomes of the branch.
    """
    by_hand = f"to have it on {branch}: git merge {retrained}"
    try:
        with changing(workspace, "merge a retraining"):
            if git(workspace, "symbolic-ref", "--quiet", "--short", "HEAD").strip() != branch:
                return Merged(None, f"the checkout is no longer on {branch}; {by_hand}")
            commit = _merged(workspace, retrained, title)
            _stage_what_is_equal(workspace, commit)
            git(workspace, "merge", "--quiet", "--ff-only", "--no-verify", commit)
            return Merged(commit, f"{branch} has it ({commit[:7]}); `genai run` brings its files into this checkout")
    except (GitError, ConfigError) as error:
        return Merged(None, f"{branch} was left as it was ({error}); {by_hand}")


def push_branches(workspace: Path, names: list[str]) -> str:
    """Push branches to the git remote; says what became of it. Raises nothing."""
    try:
        remote = remote_of(workspace)
        if remote is None:
            return "there is no git remote, so only this machine knows (git remote add origin URL)"
        failed = []
        for name in names:  # each by itself: one that somebody else moved keeps no other back
            try:
                git(workspace, "push", "--quiet", "--no-verify", remote, f"refs/heads/{name}:refs/heads/{name}")
            except GitError as error:
                failed.append(f"{name} was not pushed ({error}); later: git push {remote} {name}")
        return "; ".join(failed) or f"pushed to {remote}: {', '.join(names)}"
    except GitError as error:
        return f"nothing was pushed: {error}"


def _merged(workspace: Path, retrained: str, title: str) -> str:
    """The commit that has both: the branch's end itself, or a merge that is made without a working tree."""
    here, there = commit_of(workspace), commit_of(workspace, retrained)
    common = git(workspace, "merge-base", here, there).strip()
    if common in (here, there):
        return there if common == here else here
    tree = git(workspace, "merge-tree", "--write-tree", "--no-messages", here, there).split()[0]
    return git(workspace, "commit-tree", tree, "-p", here, "-p", there, "-m", title).strip()


def _stage_what_is_equal(workspace: Path, commit: str) -> None:
    """data/raw.dvc that somebody added and did not commit is what the commit has: staged, it is no obstacle."""
    path = workspace / RAW_FILE
    changed = path.is_file() and bool(git(workspace, "status", "--porcelain", "--", RAW_FILE))
    if changed and path.read_bytes() == git(workspace, "show", f"{commit}:./{RAW_FILE}").encode():
        git(workspace, "add", "--", RAW_FILE)
