"""Versions of the data: read them from a commit's files, and find them by name."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flows.data.stores import Stores
from flows.dvc_lock import LOCK_FILE, RAW_FILE, Item, Lock, lock_at, lock_here, locks_at
from flows.git import GitError, commit_of, git
from flows.workspace import RAW_DATA
from genai_core import GenaiError

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKING_TREE = "working tree"
PREPARE, PREPARED = "prepare", "data/prepared"
EXTRACTOR = "models/extractor"
DESCRIPTION = "dataset.json"
_LISTED = 10


class VersionError(GenaiError):
    """No version, or more than one, has that name; the message lists the known ones."""


@dataclass(frozen=True)
class DataVersion:
    """The data at a git revision, or in the working tree (commit None), as data/raw.dvc and dvc.lock record it."""

    name: str
    commit: str | None
    raw: str | None  # DVC's hash of data/raw; None: not tracked
    prepared: str | None  # DVC's hash of data/prepared; None: never prepared
    prepared_from: str | None  # the hash of data/raw that it was prepared from
    extractor: str | None  # DVC's hash of models/extractor

    @property
    def is_prepared(self) -> bool:
        """Whether data/prepared was made from this version's raw data, not from earlier data."""
        return self.prepared is not None and self.prepared_from == self.raw


@dataclass(frozen=True)
class CommittedVersion:
    """A version of data/raw by DVC's hash, with the first commit of a range that has it."""

    raw: str
    commit: str
    committed: str  # ISO date


def version_at(workspace: Path, name: str, commit: str | None) -> DataVersion:
    """Read the version of a commit, or of the working tree if `commit` is None. Raises GitError."""
    return _version(name, commit, lock_at(workspace, commit) if commit else lock_here(workspace))


def find_commit(workspace: Path, revision: str) -> str | None:
    """The commit of a git revision; None if git does not know it."""
    try:
        return commit_of(workspace, revision)
    except GitError:
        return None


def resolve(repo: "Repo", name: str, stores: Stores) -> DataVersion:
    """Find the version that `name` stands for: a git revision, or the first digits of a dataset version.

    A dataset version is the hash that `genai data add` prints, or the fingerprint of a prepared dataset. Uses the
    newest commit of any branch that has it. stores: where to read the descriptions of prepared datasets.
    Raises VersionError or GitError.
    """
    workspace = Path(repo.root_dir)
    commit = find_commit(workspace, name)
    found = {}
    if re.fullmatch(r"[0-9a-f]{4,64}(\.dir)?", name):
        found = _with_prefix(workspace, name.removesuffix(".dir"), stores)
    if commit and name not in found:
        return version_at(workspace, name, commit)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise VersionError(
            f"{name}: ambiguous, several versions start with it: {', '.join(sorted(found))}; use more digits"
        )
    raise VersionError(f"{name}: not a git revision or a version of the data; {_known(workspace)}")


def data_versions(workspace: Path, revisions: str) -> tuple[CommittedVersion, ...]:
    """The versions at A and at each commit of A..B that changed data/raw.dvc: oldest first, without repetitions.

    Raises VersionError if no commit of the range has data, GitError for an unknown revision.
    """
    first, dots, last = revisions.partition("..")
    if not dots or not first or last.startswith("."):
        raise VersionError(f"--revisions {revisions}: expected A..B, two git revisions, such as v1..HEAD")
    begin, end = commit_of(workspace, first), commit_of(workspace, last or "HEAD")
    changed = git(workspace, "rev-list", "--reverse", f"{begin}..{end}", "--", RAW_FILE).split()
    found: dict[str, CommittedVersion] = {}
    for commit, lock in locks_at(workspace, [begin, *changed]).items():
        raw = lock.raw_data.md5 if lock.raw_data else ""
        if raw and raw not in found:
            committed = git(workspace, "log", "-1", "--format=%cI", commit).strip()
            found[raw] = CommittedVersion(raw, commit, committed)
    if not found:
        raise VersionError(f"--revisions {revisions}: no commit in this range has {RAW_FILE}")
    return tuple(found.values())


def _version(name: str, commit: str | None, lock: Lock) -> DataVersion:
    prepare = lock.stages.get(PREPARE)
    deps = {item.path: item for item in prepare.deps} if prepare else {}
    return DataVersion(
        name=name,
        commit=commit,
        raw=_md5(lock.raw_data),
        prepared=_md5(lock.output(PREPARED)),
        prepared_from=_md5(deps.get(RAW_DATA.as_posix())),
        extractor=_md5(lock.output(EXTRACTOR)),
    )


def _md5(item: Item | None) -> str | None:
    return item.md5 or None if item else None


def _with_prefix(workspace: Path, prefix: str, stores: Stores) -> dict[str, DataVersion]:
    """The versions whose raw hash or prepared fingerprint starts with `prefix`, by that hash; the newest of each."""
    found: dict[str, DataVersion] = {}
    for version in _history(workspace):
        for full in (version.raw, _fingerprint(version, stores)):
            if full is None or not full.startswith(prefix):
                continue
            # The newest commit, but a commit in which it is prepared before one in which it is not.
            if full not in found or (version.is_prepared and not found[full].is_prepared):
                found[full] = replace(version, name=prefix)
    same = {(version.raw, version.prepared) for version in found.values()}
    return dict([next(iter(found.items()))]) if len(same) == 1 else found


def _history(workspace: Path) -> Iterator[DataVersion]:
    """The working tree, then every commit of any branch that changed the data's versions, newest first."""
    yield version_at(workspace, WORKING_TREE, None)
    commits = git(workspace, "log", "--all", "--format=%H", "--", RAW_FILE, LOCK_FILE).split()
    for commit, lock in locks_at(workspace, commits).items():
        yield _version(commit[:10], commit, lock)


def _fingerprint(version: DataVersion, stores: Stores) -> str | None:
    """The fingerprint in a version's dataset.json, from the cache or the remote."""
    files = (stores.listing(version.prepared) if version.is_prepared else None) or {}
    with TemporaryDirectory() as folder:
        if DESCRIPTION not in files or stores.lay_out(files, [DESCRIPTION], Path(folder)):
            return None
        return str(json.loads((Path(folder) / DESCRIPTION).read_text())["fingerprint"])


def _known(workspace: Path) -> str:
    """The known versions, newest first, for an error."""
    seen: dict[str, str] = {}
    for version in _history(workspace):
        if version.raw:
            seen.setdefault(version.raw, version.name)
    listed = [f"{raw[:10]} ({name})" for raw, name in list(seen.items())[:_LISTED]]
    more = f" and {len(seen) - _LISTED} more" if len(seen) > _LISTED else ""
    return f"versions of data/raw: {', '.join(listed) or 'none'}{more}"
