"""The hashes that DVC will find: on disk now, or after stages are restored from the run-cache.

Uses some internals of DVC, because the run-cache's keys and entries have no public reader. Tests compare the results
with `dvc repro`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

Files = dict[tuple[str, ...], str]  # path below a folder -> md5; a single file has the empty path


class Contents:
    """The present or future contents of a repo's paths: known from the disk or the run-cache, or unknown."""

    def __init__(self, repo: "Repo") -> None:
        self._repo = repo
        self._on_disk: dict[str, str | None] = {}
        self._restored: dict[Path, Files] = {}
        self._restored_hashes: set[str] = set()
        self._unknown: set[Path] = set()
        # The folders above them: a pipeline may have thousands of outputs, so no dependency is compared with each.
        self._above_restored: set[Path] = set()
        self._above_unknown: set[Path] = set()

    @property
    def restored_hashes(self) -> frozenset[str]:
        """DVC's hashes of the outputs to restore: files, and listings of folders."""
        return frozenset(self._restored_hashes)

    def mark_unknown(self, outs: Iterable["Output"]) -> None:
        """Mark the outputs of a stage that will run: their contents are unknown."""
        for out in outs:
            path = Path(out.fs_path)
            self._unknown.add(path)
            self._above_unknown.update(path.parents)

    def is_known(self, dep: "Output") -> bool:
        path = Path(dep.fs_path)
        return path not in self._above_unknown and self._unknown.isdisjoint((path, *path.parents))

    def hash_of(self, dep: "Output") -> str | None:
        """The md5 that DVC will compute for a known dependency; None if it is missing."""
        path = Path(dep.fs_path)
        for out in (path, *path.parents):  # the output itself, or something inside it
            if out in self._restored:
                return _digest(_below(self._restored[out], path.relative_to(out).parts))
        if path not in self._above_restored:
            return self._disk_hash(dep)
        files = self._disk_files(dep)
        for out, restored_files in self._restored.items():  # a folder that contains outputs
            if path not in out.parents:
                continue
            prefix = out.relative_to(path).parts
            files = {key: md5 for key, md5 in files.items() if key[: len(prefix)] != prefix}
            files.update({prefix + key: md5 for key, md5 in restored_files.items()})
        return _digest(files)

    def restore(self, stage: "Stage", *, use_recorded: bool) -> bool:
        """Whether DVC will restore the stage's outputs instead of running it. If so, remember their contents.

        use_recorded: the inputs are those of dvc.lock, so use its outputs, even without a run-cache entry.
        """
        from dvc.stage.serialize import to_single_stage_lockfile

        if not may_be_restored(stage):
            return False
        if use_recorded and all(out.hash_info for out in stage.outs):
            entry = to_single_stage_lockfile(stage)
        else:
            self._take_current_inputs(stage)
            entry = run_cache_entry(stage)
        if not entry:
            return False
        cached = recorded_stage(entry, stage)
        if not cached.outs_cached():
            return False
        for out in cached.outs:
            self._will_be_restored(out)
        return True

    def restore_source(self, out: "Output") -> bool:
        """Whether the cache has the tracked content of a data source, which has no run-cache. If so, remember it."""
        if out.changed_cache():
            return False
        self._will_be_restored(out)
        return True

    def _will_be_restored(self, out: "Output") -> None:
        path = Path(out.fs_path)
        self._restored[path] = _files_of(out)
        self._above_restored.update(path.parents)
        self._restored_hashes.add(out.hash_info.value)

    def in_cache(self, md5: str) -> bool:
        """Whether DVC's cache has a file, or the listing of a folder."""
        return bool(self._repo.cache.local.exists(md5))

    def changed_files(self, out: "Output") -> Counter[str]:
        """Numbers of added, deleted and modified files of a recorded output; empty if the cache has no listing."""
        if not out.get_obj():
            return Counter()
        old, new = _files_of(out), self._disk_files(out)
        both = old.keys() & new.keys()
        return +Counter(
            added=len(new.keys() - both),
            deleted=len(old.keys() - both),
            modified=sum(old[key] != new[key] for key in both),
        )

    def _take_current_inputs(self, stage: "Stage") -> None:
        """Set the future hashes of the inputs in the in-memory stage, as DVC does before it reads its run-cache."""
        from dvc.dependency.param import ParamsDependency
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta

        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                dep.hash_info = dep.get_hash()
            else:
                dep.hash_name = "md5"
                dep.hash_info = HashInfo("md5", self.hash_of(dep))
                # The recorded meta also contains the old hash, which would take precedence.
                dep.meta = Meta(isexec=dep.exists and dep.get_meta().isexec)

    def _disk_hash(self, dep: "Output") -> str | None:
        if dep.fs_path not in self._on_disk:
            self._on_disk[dep.fs_path] = dep.get_hash().value if dep.exists else None
        return self._on_disk[dep.fs_path]

    def _disk_files(self, dep: "Output") -> Files:
        if not dep.exists:
            return {}
        _, _, obj = dep._build(dep.local_cache, dep.fs_path, dep.fs, "md5", ignore=dep.dvcignore, dry_run=True)
        return {key: info.value for key, _, info in obj} if dep.isdir() else {(): obj.hash_info.value}


def folder_hash(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder, from the listing of its files: relative path -> md5.

    Does not use Tree.digest, which keeps every listing in memory until the process ends.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()  # type: ignore[no-untyped-call]
    for path, md5 in files.items():
        tree.add(tuple(path.split("/")), None, HashInfo("md5", md5))
    return f"{hashlib.md5(tree.as_bytes(), usedforsecurity=False).hexdigest()}.dir"


def run_cache_entry(stage: "Stage") -> dict[str, Any] | None:
    """The newest run-cache entry for a stage with its in-memory inputs; None if there is none."""
    from dvc.stage.cache import _get_cache_hash
    from dvc.stage.serialize import to_single_stage_lockfile

    cache = stage.repo.stage_cache
    key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    folder = Path(cache._get_cache_dir(key))
    if not folder.is_dir():
        return None
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime, default=None)
    entry: dict[str, Any] | None = cache._load_cache(key, newest.name) if newest else None
    return entry


def save_to_run_cache(stage: "Stage") -> None:
    """Save the stage in the run-cache. Like StageCache.save, but from any current folder."""
    if not may_be_restored(stage):
        return
    cache = stage.repo.stage_cache
    cache._create_stage = lambda entry, **_kwargs: recorded_stage(entry, stage)
    persistent = [out for out in stage.outs if out.persist]
    try:
        for out in persistent:  # DVC skips such a stage, but it is marked as restorable (`may_be_restored`)
            out.persist = False
        cache.save(stage)
    finally:
        for out in persistent:
            out.persist = True


def recorded_stage(entry: Mapping[str, Any], like: "Stage") -> "Stage":
    """The stage with the hashes of an entry. StageCache._create_stage works only in the repo's folder."""
    from dvc.stage import PipelineStage, create_stage
    from dvc.stage.loader import StageLoader

    paths = [out["path"] for out in entry["outs"]]
    stage = create_stage(PipelineStage, repo=like.repo, path=like.path, cmd=entry["cmd"], wdir=like.wdir, outs=paths)
    StageLoader.fill_from_lock(stage, dict(entry))
    return stage


def may_be_restored(stage: "Stage") -> bool:
    """Whether the run-cache may restore the stage: DVC's rule (StageCache._can_hash), without cases the plan handles.

    Outputs that persist between runs may depend on their previous contents, so DVC never restores them. If they depend
    only on the inputs, the stage has `restorable` in its `meta:`.
    """
    persists = any(out.persist for out in stage.outs) and not (stage.meta or {}).get("restorable")
    return bool(stage.deps and stage.outs) and not persists and all(out.is_in_repo for out in stage.outs)


def _files_of(out: "Output") -> Files:
    """The files of an output by its recorded hash. The cache must have a folder's listing."""
    if not out.hash_info.isdir:
        return {(): out.hash_info.value}
    return {key: info.value for key, _, info in out.get_obj()}


def _below(files: Files, prefix: tuple[str, ...]) -> Files:
    return {key[len(prefix) :]: md5 for key, md5 in files.items() if key[: len(prefix)] == prefix}


def _digest(files: Files) -> str | None:
    """DVC's hash of a file or a folder; None if there are no files."""
    if () in files:
        return files[()]
    return folder_hash({"/".join(key): md5 for key, md5 in files.items()}) if files else None
