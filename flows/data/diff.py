"""Two versions of the data beside each other: what came, went and changed, and how far the new images are from the old.

Reads git, DVC's cache and, for what the cache has not, the remote; the working tree is not touched. What is compared
are the prepared datasets; where a version was not prepared, the lists of raw files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.add import run_task
from flows.data.stores import Stores
from flows.data.versions import WORKING_TREE, Version, resolve, version_at
from flows.graph import open_repo
from flows.scratch import scratch_folder

EXAMPLES = 5
TOO_FEW = "fewer new images than features: both distances are too large, and their quotient is rough"


@dataclass(frozen=True)
class DataDiff:
    """images: what tasks/compare.py writes, or None; raw_files: only where `images` is None. notes: why."""

    before: Version
    after: Version
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
    """Compare two versions (versions.py); `after` None is the working tree. remote: by name, for what the cache lacks;
    None: the default one. Raises VersionError, DataError, RemoteError."""
    with open_repo(workspace) as repo:
        stores = Stores(repo, remote)
        a = resolve(repo, before, stores)
        b = resolve(repo, after, stores) if after else version_at(workspace, WORKING_TREE, None)
        with scratch_folder(workspace, "diff") as place:
            return _compare(workspace, place, stores, a, b, distance)


def as_json(found: DataDiff) -> dict[str, Any]:
    """The documented form (docs/data.md): its keys are there whatever was found."""
    images = {key: value for key, value in (found.images or {}).items() if key not in ("before", "after", "shards")}
    sides = {}
    for name, version in (("before", found.before), ("after", found.after)):
        about = (found.images or {}).get(name)
        sides[name] = {
            "name": version.name,
            "commit": version.commit,
            "raw": version.raw,
            "is_prepared": version.is_prepared,
            **(about or {"fingerprint": None}),
        }
    return {
        **sides,
        "images": images or None,
        "distance": found.distance,
        "raw_files": found.raw_files,
        "notes": list(found.notes),
    }


def _compare(workspace: Path, place: Path, stores: Stores, a: Version, b: Version, distance: bool) -> DataDiff:
    """place: where the two datasets are put together."""
    notes = [
        f"{version.name}: {'data/prepared is of other raw data' if version.prepared else 'not prepared'}"
        for version in (a, b)
        if not version.is_prepared
    ]
    lists = {side: stores.listing(version.prepared) or {} for side, version in (("before", a), ("after", b))}
    if not notes:
        for side, version in (("before", a), ("after", b)):
            if not lists[side] or stores.lay_out(lists[side], _described(lists[side]), place / side):
                notes.append(f"{version.name}: data/prepared is neither in DVC's cache nor at the remote")
    if notes:
        notes.append("so the raw files are compared, not the images; genai run prepare, then again, compares images")
        raw_files = _compare_raw(stores, a, b)
        if raw_files is None:
            notes.append("nor are the lists of raw files in DVC's cache or at the remote: genai data pull")
        return DataDiff(a, b, None, None, raw_files, tuple(notes))
    images = _task(workspace, place, "compare")
    if not distance:
        return DataDiff(a, b, images, None, None, ())
    figures, said = _distance(workspace, place, stores, a, images, lists)
    return DataDiff(a, b, images, figures, None, tuple(said))


def _distance(
    workspace: Path, place: Path, stores: Stores, a: Version, images: dict[str, Any], lists: dict[str, dict[str, str]]
) -> tuple[dict[str, Any] | None, list[str]]:
    if images["matched_by"] != "pixels":
        return None, ["no distance: the images have another size or other channels"]
    if min(images["added"], *images["before"]["splits"].values()) < 2:
        return None, ["no distance: fewer than two images"] if images["added"] else []
    for side, files in lists.items():
        if lost := stores.lay_out(files, [f"shards/{name}" for name in images["shards"][side]], place / side):
            return None, [f"no distance: {len(lost):,} shards are neither in DVC's cache nor at the remote"]
    # The older version's: it has not seen the new images, as it has not seen the old held-out ones.
    has_extractor = a.extractor is not None and _lay_out_all(place / "extractor", stores, a.extractor)
    options = ["--extractor", str(place / "extractor")] if has_extractor else []
    figures = _task(workspace, place, "distance", *options)
    notes = [] if has_extractor else [f"{a.name} has no extractor: the distance is of pixels averaged to 8 x 8"]
    return figures, [*notes, TOO_FEW] if figures["too_few"] else notes


def _lay_out_all(folder: Path, stores: Stores, oid: str) -> bool:
    files = stores.listing(oid)
    return files is not None and not stores.lay_out(files, files, folder)


def _described(files: dict[str, str]) -> list[str]:
    """All of a dataset but its pixels and pictures."""
    return [name for name in files if name.endswith((".json", ".parquet", ".csv")) or name.startswith("facts/")]


def _compare_raw(stores: Stores, a: Version, b: Version) -> dict[str, Any] | None:
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


def _task(workspace: Path, place: Path, name: str, *options: str) -> dict[str, Any]:
    out = place / f"{name}.json"
    run_task(workspace, f"tasks.{name}", str(place / "before"), str(place / "after"), str(out), *options)
    values: dict[str, Any] = json.loads(out.read_text())
    return values
