"""What a retraining starts from: the newest data and the commit that they belong to; and whether it can start."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.git import GitError, changed_files, git
from flows.graph import open_repo
from flows.locked import RAW_FILE, lock_at
from flows.scratch import scratch_folder
from flows.watching.news import newest_data, uncommitted_data
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE, Config, load_config


class RetrainError(GenaiError):
    """A retraining cannot start, or could not end; the message says why, what to do, and how production stands."""


@dataclass(frozen=True)
class Source:
    """raw: DVC's hash of data/raw. added: data/raw.dvc of the working tree, when no commit has it yet."""

    commit: str
    raw: str
    branch: str  # that the workspace is on
    where: str  # "this checkout", "origin/main", "the working tree"
    added: bytes | None
    notes: tuple[str, ...]


def find_source(workspace: Path) -> Source:
    """The newest data: added but not committed here, else at the git remote where that is ahead, else of HEAD.

    Raises RetrainError or GitError.
    """
    branch = _branch(workspace)
    newest = newest_data(workspace)
    notes = [newest.fault] if newest.fault else []
    raw, where, added = newest.raw, newest.where, None
    if here := uncommitted_data(workspace):
        raw, where, added = here, "the working tree", (workspace / RAW_FILE).read_bytes()
        notes.append(f"{RAW_FILE} is not committed; the retraining commits it to its branch (data version {here[:10]})")
    if raw is None:
        raise RetrainError("there is no data yet; add some: genai data add PATH, or builtin:digits")
    if changed := _changed(workspace):
        notes.append(f"not committed, so not used: {', '.join(changed)}")
    return Source(newest.commit, raw, branch, where, added, tuple(notes))


def config_at(workspace: Path, commit: str) -> Config:
    """params.yaml of a commit, checked. Raises ConfigError or GitError."""
    text = git(workspace, "show", f"{commit}:./{PARAMS_FILE}")
    with scratch_folder(workspace, "config") as folder:
        path = folder / PARAMS_FILE
        path.write_text(text)
        return load_config(path)


def check_can_start(workspace: Path, source: Source) -> None:
    """Raises RetrainError for what would stop the retraining only when hours are spent."""
    try:
        git(workspace, "var", "GIT_AUTHOR_IDENT")
        git(workspace, "var", "GIT_COMMITTER_IDENT")
    except GitError as error:
        raise RetrainError(
            f"git does not know who commits ({error}); git config user.name NAME and git config user.email ADDRESS"
        ) from None
    lock = lock_at(workspace, source.commit)
    with open_repo(workspace) as repo:
        cache = Path(repo.cache.local.path)
    needed = 2 * sum(item.size_bytes for stage in lock.stages.values() for item in stage.outs)
    needed += sum(item.size_bytes for item in lock.sources)
    for place in (workspace, cache):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        if free < needed:
            raise RetrainError(
                f"{place}: {free / 1e9:.1f} GB free, a retraining may write {needed / 1e9:.1f} GB (twice what the last "
                "run made); free some space: genai gc"
            )


def _branch(workspace: Path) -> str:
    try:
        return git(workspace, "symbolic-ref", "--quiet", "--short", "HEAD").strip()
    except GitError:
        try:
            git(workspace, "rev-parse", "--git-dir")
        except GitError:
            raise RetrainError(f"{workspace}: no git repository here; what a retraining makes lies in git") from None
        raise RetrainError(
            "HEAD is detached, so there is no branch that a promoted model could be merged into: git switch BRANCH"
        ) from None


def _changed(workspace: Path) -> list[str]:
    """What is tracked, differs from HEAD, and would shape a result."""
    return [path for path in changed_files(workspace) if path != RAW_FILE]
