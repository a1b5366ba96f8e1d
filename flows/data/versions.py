"""What a person calls a version of the data, and what git and DVC know of it."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flows.data.stores import Stores
from flows.workspace import LOCK_FILE, RAW_DATA
from genai_core import GenaiError

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKING_TREE = "working tree"
PREPARE, PREPARED = "prepare", "data/prepared"
EXTRACTOR_STAGE, EXTRACTOR = "extractor", "models/extractor"
DESCRIPTION = "dataset.json"
_LISTED = 10


class VersionError(GenaiError):
    """No version, or more than one, has that name; the message lists what there is."""


@dataclass(frozen=True)
class Version:
    """The data at a git revision, or in the working tree (commit None), as data/raw.dvc and dvc.lock have it."""

    name: str
    commit: str | None
    raw: str | None  # DVC's hash of data/raw; None: nothing is tracked
    prepared: str | None  # DVC's hash of data/prepared; None: never prepared
    prepared_from: str | None  # the hash of data/raw that it was prepared from
    extractor: str | None  # DVC's hash of models/extractor

    @property
    def is_prepared(self) -> bool:
        """Whether data/prepared holds this version's raw data, not that of an earlier one."""
        return self.prepared is not None and self.prepared_from == self.raw


def resolve(repo: "Repo", name: str, stores: Stores) -> Version:
    """The version that `name` stands for: a git revision, or the head of a dataset version.

    A dataset version is the hash that `genai data add` prints, or the fingerprint of a prepared dataset; it is looked
    for in the history of all branches, and the newest commit that has it is taken. stores: where descriptions of
    prepared datasets are looked up. Raises VersionError.
    """
    root = Path(repo.root_dir)
    commit = _commit(root, name)
    found = {}
    if re.fullmatch(r"[0-9a-f]{4,64}(\.dir)?", name):
        found = _with_head(repo, name.removesuffix(".dir"), stores)
    if commit and name not in found:
        return version_at(root, name, commit)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise VersionError(f"{name}: several versions begin so: {', '.join(sorted(found))}; give more of it")
    raise VersionError(f"{name}: neither a git revision nor a version of the data; {_known(root)}")


def version_at(root: Path, name: str, commit: str | None) -> Version:
    """What the files of a commit, or of the working tree, say."""
    raw = _yaml(root, f"{RAW_DATA}.dvc", commit)
    stages = _yaml(root, LOCK_FILE, commit).get("stages", {})
    prepare = stages.get(PREPARE, {})
    return Version(
        name=name,
        commit=commit,
        raw=_md5(raw.get("outs", []), None),
        prepared=_md5(prepare.get("outs", []), PREPARED),
        prepared_from=_md5(prepare.get("deps", []), str(RAW_DATA)),
        extractor=_md5(stages.get(EXTRACTOR_STAGE, {}).get("outs", []), EXTRACTOR),
    )


def head_commit(root: Path) -> str | None:
    """The commit that the working tree stands on."""
    return _commit(root, "HEAD")


def _with_head(repo: "Repo", head: str, stores: Stores) -> dict[str, Version]:
    """The versions whose raw data's hash or prepared fingerprint begins so, by that hash; the newest commit of each."""
    found: dict[str, Version] = {}
    for version in _history(Path(repo.root_dir)):
        names = [version.raw, _fingerprint(version, stores)]
        for full in filter(None, names):
            if not full.startswith(head):
                continue
            # Of the commits that have it the newest one, but one in which it is prepared before one in which it is not.
            if full not in found or (version.is_prepared and not found[full].is_prepared):
                found[full] = replace(version, name=head)
    same = {(version.raw, version.prepared) for version in found.values()}
    return dict([next(iter(found.items()))]) if len(same) == 1 else found


def _history(root: Path) -> Iterator[Version]:
    """The working tree, then every commit of any branch that changed the data's versions, newest first."""
    yield version_at(root, WORKING_TREE, None)
    answer = _git(root, "log", "--all", "--format=%H", "--", f"{RAW_DATA}.dvc", LOCK_FILE)
    for commit in (answer or "").split():
        yield version_at(root, commit[:10], commit)


def _fingerprint(version: Version, stores: Stores) -> str | None:
    """The fingerprint in the dataset.json of a version, from the cache or the remote."""
    files = (stores.listing(version.prepared) if version.is_prepared else None) or {}
    if DESCRIPTION not in files:
        return None
    with TemporaryDirectory() as folder:
        if stores.lay_out(files, [DESCRIPTION], Path(folder)):
            return None
        return str(json.loads((Path(folder) / DESCRIPTION).read_text())["fingerprint"])


def _known(root: Path) -> str:
    """What there is, newest first, for an error."""
    seen: dict[str, str] = {}
    for version in _history(root):
        if version.raw and version.raw not in seen:
            seen[version.raw] = version.name
    listed = [f"{raw[:10]} ({name})" for raw, name in list(seen.items())[:_LISTED]]
    more = f" and {len(seen) - _LISTED} more" if len(seen) > _LISTED else ""
    return f"versions of data/raw: {', '.join(listed) or 'none'}{more}"


def _commit(root: Path, name: str) -> str | None:
    if name.startswith("-"):
        return None
    answer = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return answer.strip() if answer else None


def _yaml(root: Path, path: str, commit: str | None) -> dict[str, Any]:
    from dvc.utils.serialize import parse_yaml

    if commit is None:
        file = root / path
        text = file.read_text() if file.is_file() else ""
    else:
        text = _git(root, "show", f"{commit}:./{path}") or ""
    return parse_yaml(text, path) or {} if text.strip() else {}


def _md5(entries: list[dict[str, Any]], path: str | None) -> str | None:
    return next((entry.get("md5") for entry in entries if path in (None, entry["path"])), None)


def _git(root: Path, *arguments: str) -> str | None:
    answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return answer.stdout if answer.returncode == 0 else None
