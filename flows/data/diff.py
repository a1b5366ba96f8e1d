"""Compare two versions of the data: added, removed and changed images, and the new images' distance from the old.

Reads git, DVC's cache and, for what the cache lacks, the remote; does not touch the working tree. Compares the prepared
datasets or, if a version is not prepared, the lists of raw files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.add import run_task
from flows.data.stores import Stores
from flows.data.versions import WORKING_TREE, DataVersion, resolve, version_at
from flows.graph import open_repo
from flows.scratch import scratch_folder
from genai_core.counted import counted

EXAMPLES = 5
TOO_FEW = "fewer new images than features: both distances are too large, and their ratio is only approximate"


@dataclass(frozen=True)
class DataDiff:
    """images: the result of tasks/compare.py, or None. raw_files: only if `images` is None. notes: why."""

    before: DataVersion
    after: DataVersion
    images: dict[str, Any] | None
    distance: dict[str, Any] | None
    raw_files: dict[str, Any] | None
    notes: tuple[str, ...]


def diff(
    workspace: Path,
    before: str = "HEAD",
    after: str | None = None,
    *,
    distance: bool = True,
    remote: str | None = None,
) -> DataDiff:
    """Compare two versions (versions.py). after: None is the working tree. remote: by name; None is the default one.

    Raises VersionError, DataError, RemoteError or GitError.
    """
    with open_repo(workspace) as repo:
        stores = Stores(repo, remote)
        a = resolve(repo, before, stores)
        b = resolve(repo, after, stores) if after else version_at(workspace, WORKING_TREE, None)
        with scratch_folder(workspace, "diff") as folder:
            return _compare(workspace, folder, stores, a, b, distance)


def as_json(found: DataDiff) -> dict[str, Any]:
    """Return the documented form (docs/data.md). It always has all keys."""
    images = {key: value for key, value in (found.images or {}).items() if key not in ("before", "after", "shards")}
    sides = {
        name: {
            "name": version.name,
            "commit": version.commit,
            "raw": version.raw,
            "is_prepared": version.is_prepared,
            **((found.images or {}).get(name) or {"fingerprint": None}),
        }
        for name, version in (("before", found.before), ("after", found.after))
    }
    return {
        **sides,
        "images": images or None,
        "distance": found.distance,
        "raw_files": found.raw_files,
        "notes": list(found.notes),
    }


def _compare(workspace: Path, folder: Path, stores: Stores, a: DataVersion, b: DataVersion, distance: bool) -> DataDiff:
    """folder: where the two datasets are laid out."""
    notes = [
        f"{version.name}: this version of data/raw is not prepared"
        + (", but another one is" if version.prepared else "")
        for version in (a, b)
        if not version.is_prepared
    ]
    lists = {side: stores.listing(version.prepared) or {} for side, version in (("before", a), ("after", b))}
    if not notes:
        for side, version in (("before", a), ("after", b)):
            if not lists[side] or stores.lay_out(lists[side], _described(lists[side]), folder / side):
                notes.append(f"{version.name}: data/prepared is neither in DVC's cache nor at the remote")
    if notes:
        notes.append(
            "compared the raw files instead of the images; to compare images, run `genai run prepare`, then repeat"
        )
        raw_files = _compare_raw(stores, a, b)
        if raw_files is None:
            notes.append("the lists of raw files are neither in DVC's cache nor at the remote; run `genai data pull`")
        return DataDiff(a, b, None, None, raw_files, tuple(notes))
    images = _task(workspace, folder, "compare")
    if not distance:
        return DataDiff(a, b, images, None, None, ())
    figures, notes = _distance(workspace, folder, stores, a, images, lists)
    return DataDiff(a, b, images, figures, None, tuple(notes))


def _distance(
    workspace: Path,
    folder: Path,
    stores: Stores,
    a: DataVersion,
    images: dict[str, Any],
    lists: dict[str, dict[str, str]],
) -> tuple[dict[str, Any] | None, list[str]]:
    if images["matched_by"] != "pixels":
        return None, ["no distance: the images differ in size or channels"]
    if min(images["added"], *images["before"]["splits"].values()) < 2:
        return None, ["no distance: fewer than two images"] if images["added"] else []
    for side, files in lists.items():
        if lost := stores.lay_out(files, [f"shards/{name}" for name in images["shards"][side]], folder / side):
            return None, [f"no distance: neither DVC's cache nor the remote has {counted(len(lost), 'shard')}"]
    # The older version's extractor: it was trained neither on the new images nor on the old held-out ones.
    extractor = stores.listing(a.extractor)
    has_extractor = extractor is not None and not stores.lay_out(extractor, extractor, folder / "extractor")
    options = ["--extractor", str(folder / "extractor")] if has_extractor else []
    figures = _task(workspace, folder, "distance", *options)
    notes = [] if has_extractor else [f"{a.name} has no extractor: the distance uses pixels averaged to 8 x 8"]
    return figures, [*notes, TOO_FEW] if figures["too_few"] else notes


def _described(files: dict[str, str]) -> list[str]:
    """All files of a dataset except pixels and pictures."""
    return [name for name in files if name.endswith((".json", ".parquet", ".csv")) or name.startswith("facts/")]


def _compare_raw(stores: Stores, a: DataVersion, b: DataVersion) -> dict[str, Any] | None:
    old, new = ({} if version.raw is None else stores.listing(version.raw) for version in (a, b))
    if old is None or new is None:
        return None
    kinds = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "modified": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    }
    counts = {"before": len(old), "after": len(new), **{kind: len(names) for kind, names in kinds.items()}}
    return {**counts, "examples": {kind: names[:EXAMPLES] for kind, names in kinds.items()}}


def _task(workspace: Path, folder: Path, name: str, *options: str) -> dict[str, Any]:
    out = folder / f"{name}.json"
    run_task(workspace, f"tasks.{name}", str(folder / "before"), str(folder / "after"), str(out), *options)
    values: dict[str, Any] = json.loads(out.read_text())
    return values
