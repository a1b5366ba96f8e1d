"""The workspace paths of objects in the cache, from all runs and commits that named them."""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from flows.data.objects import FOLDER_SUFFIX
from flows.gc.cache import Cache, CachedRun
from flows.gc.roots import names_outputs
from flows.git import contents, git

# In a dvc.lock or a .dvc file, in either order. Only reports use it, so a regular expression is enough: it reads the
# history of some hundred runs in a second.
_PATH = re.compile(r"path: *(?P<path>[^\n]+)")
_MD5 = re.compile(r"md5: *(?P<md5>[0-9a-f]{32}(?:\.dir)?)")


def paths_of(workspace: Path, cache: Cache, runs: Iterable[CachedRun], wanted: Collection[str]) -> dict[str, str]:
    """The path of those objects that something named, by their hashes."""
    found: dict[str, str] = {}
    if not wanted:
        return found
    named = [(item.md5, item.path) for run in runs for item in run.outputs]
    for oid, path in [*named, *_in_history(workspace)]:
        if oid in wanted and oid not in found:
            found[oid] = path
            if oid.endswith(FOLDER_SUFFIX):
                for name, file in cache.files_of(oid).items():
                    found.setdefault(file, f"{path}/{name}")
    return found


def _in_history(workspace: Path) -> Iterator[tuple[str, str]]:
    """The outputs that any commit of any branch named: hash and path."""
    lines = git(workspace, "rev-list", "--objects", "--all", "--", ":(glob)**/dvc.lock", ":(glob)**/*.dvc").split("\n")
    named = {sha: path for sha, _, path in (line.partition(" ") for line in lines) if names_outputs(path)}
    for sha, content in contents(workspace, named).items():
        yield from _pairs(content.decode(errors="replace"), Path(named[sha]).parent)


def _pairs(text: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Hash and path of each entry: a list item that has both."""
    for entry in re.split(r"(?m)^\s*- ", text):
        path, md5 = _PATH.search(entry), _MD5.search(entry)
        if path and md5:
            yield md5["md5"], (folder / path["path"].strip("'\" ")).as_posix()
