"""A trial as an experiment of DVC: a commit on the workspace's HEAD, below refs/exps."""

from collections.abc import Mapping
from pathlib import Path

from flows.git import git
from flows.runs.snapshot import NOBODY, take_snapshot
from flows.search import SearchError


def baseline_of(workspace: Path, base: str | None) -> str:
    """Return the commit that experiments belong to. Raises SearchError before the first commit."""
    if base is None:
        raise SearchError(f"{workspace}: there is no commit yet, and DVC's experiments belong to one. Commit first")
    return base


def record_experiment(checkout: Path, baseline: str, name: str, message: str) -> str:
    """Commit what a trial's checkout contains as the experiment `name` of the baseline, and return the commit.

    An experiment of that name is replaced: a trial that was interrupted is recorded when it ends. `dvc exp show` lists
    it, and `dvc exp apply` takes its parameters, metrics and outputs. Raises GitError.
    """
    from dvc.repo.experiments.refs import ExpRefInfo

    tree = take_snapshot(checkout).tree
    commit = git(checkout, "commit-tree", tree, "-p", baseline, "-m", message, environment=_identity(checkout)).strip()
    git(checkout, "update-ref", str(ExpRefInfo(baseline, name)), commit)
    return commit


def _identity(checkout: Path) -> Mapping[str, str]:
    """The user as author, if git knows one."""
    return {} if git(checkout, "config", "--get", "--default", "", "user.email").strip() else NOBODY
