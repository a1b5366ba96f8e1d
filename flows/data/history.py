"""The versions of the data that a range of revisions went through."""

from dataclasses import dataclass
from pathlib import Path

from flows.data.versions import VersionError, version_at
from flows.git import commit_of, git
from flows.workspace import RAW_DATA


@dataclass(frozen=True)
class DataVersionAt:
    """A version of data/raw by DVC's hash, at the first commit of the range that has it."""

    raw: str
    commit: str
    committed: str  # ISO date


def data_versions(workspace: Path, revisions: str) -> tuple[DataVersionAt, ...]:
    """The versions at A and at each commit of A..B that changed data/raw.dvc, oldest first, each once.

    Raises VersionError when the range names no data, GitError for a revision that git does not know.
    """
    first, dots, last = revisions.partition("..")
    if not dots or not first or last.startswith("."):
        raise VersionError(f"--revisions {revisions}: expected A..B, two git revisions, such as v1..HEAD")
    begin, end = commit_of(workspace, first), commit_of(workspace, last or "HEAD")
    changed = git(workspace, "rev-list", "--reverse", f"{begin}..{end}", "--", f"{RAW_DATA}.dvc").split()
    found: dict[str, DataVersionAt] = {}
    for commit in (begin, *changed):
        raw = version_at(workspace, commit, commit).raw
        if raw and raw not in found:
            committed = git(workspace, "log", "-1", "--format=%cI", commit).strip()
            found[raw] = DataVersionAt(raw, commit, committed)
    if not found:
        raise VersionError(f"--revisions {revisions}: no commit there has {RAW_DATA}.dvc")
    return tuple(found.values())
