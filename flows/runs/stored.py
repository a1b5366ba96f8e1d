"""A stage's inputs and outputs as stored objects: which a stage reads, and how they are laid out elsewhere."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import read_listing
from flows.data.outputs import StoredOutput
from flows.graph import path_of

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


class UnknownReads(Exception):
    """`meta: reads` names a path that no upstream stage makes."""


def outputs_read(stage: "Stage", upstream: Iterable["Stage"], declared: Sequence[str]) -> tuple[StoredOutput, ...]:
    """The outputs of upstream stages that a stage reads, or the parts of them.

    It reads its dependencies, the paths in `declared` (`meta: reads`), and the previous version of its own outputs if
    these persist and may depend on it. Raises UnknownReads.
    """
    from dvc.dependency.param import ParamsDependency

    paths = [path_of(dep) for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    outs = [out for other in upstream for out in other.outs if out.hash_info]
    for path in declared:
        if not any(_overlap(path, path_of(out)) for out in outs):
            raise UnknownReads(path)
    found = [read for out in outs if (read := _read(out, [*paths, *declared])) is not None]
    if not (stage.meta or {}).get("restorable"):
        found += [stored(out) for out in stage.outs if out.persist and out.hash_info]
    return tuple(found)


def stored(out: "Output", parts: tuple[str, ...] | None = None) -> StoredOutput:
    return StoredOutput(path_of(out), out.hash_info.value, out.meta.size, parts)


def add_to_cache(outs: Iterable["Output"]) -> None:
    """Add outputs that git tracks to DVC's cache too, from their files, so that they can be sent as objects."""
    for out in outs:
        if not out.use_cache and out.exists and out.changed_cache():
            with _as_cached(out):
                out.commit(relink=False)


def lay_out(repo: "Repo", outs: Mapping[str, "Output"], outputs: Iterable[StoredOutput]) -> None:
    """Put outputs that are in the cache in their places, as links if DVC's settings allow. outs: by path."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    for output in outputs:
        if output.parts is not None:
            _lay_out_parts(repo, output)
            continue
        out = outs[output.path]
        out.hash_info = HashInfo("md5", output.oid)
        out.meta = Meta(isdir=out.hash_info.isdir, size=output.size_bytes)
        with _as_cached(out):
            out.checkout(force=True)


@contextmanager
def _as_cached(out: "Output") -> Iterator[None]:
    """An output that git tracks counts as one that DVC keeps in its cache."""
    before, out.use_cache = out.use_cache, True
    try:
        yield
    finally:
        out.use_cache = before


def _read(out: "Output", paths: Iterable[str]) -> StoredOutput | None:
    """The part of an output that is at, below or above one of the paths; None if there is none."""
    own = path_of(out)
    parts = []
    for path in paths:
        if own == path or own.startswith(f"{path}/"):
            return stored(out)
        if path.startswith(f"{own}/"):
            parts.append(path[len(own) + 1 :])
    return stored(out, tuple(sorted(set(parts)))) if parts else None


def _lay_out_parts(repo: "Repo", output: StoredOutput) -> None:
    cache = repo.cache.local
    folder = Path(repo.root_dir) / output.path
    for name, oid in (read_listing(cache, output.oid) or {}).items():
        if output.has(name):
            source, target = cache.oid_to_path(oid), folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(source, target)


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
