"""DVC's cache on the disk: its objects, the entries of its run-cache, and the files in a folder's listing."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import FOLDER_SUFFIX, read_listing
from flows.dvc_lock import Item, outputs_of_run
from flows.gc.roots import CollectError
from flows.git import GitError

if TYPE_CHECKING:
    from dvc.repo import Repo

_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
_HALF_WRITTEN = ".tmp"


@dataclass(frozen=True)
class StoredFile:
    """A file, and when it was added, in seconds since the epoch."""

    path: Path
    size_bytes: int
    links: int  # hard links to its bytes
    added_at: float

    @property
    def freed_bytes(self) -> int:
        """Bytes that its deletion frees: none if there is another hard link to them."""
        return self.size_bytes if self.links == 1 else 0


@dataclass(frozen=True)
class CachedRun:
    """An entry of the run-cache, by which DVC restores a stage's outputs instead of running it."""

    file: StoredFile
    outputs: tuple[Item, ...]


class Cache:
    """The local cache of a repo."""

    def __init__(self, repo: "Repo") -> None:
        self._store = repo.cache.local
        self.folder = Path(self._store.path).resolve()  # of the objects
        self._runs = Path(repo.stage_cache.cache_dir)

    def objects(self) -> dict[str, StoredFile]:
        """Every object by its hash."""
        return {
            f"{folder.name}{file.path.name}": file
            for folder in _two_letter_folders(self.folder)
            for file in stored_files(folder)
            if _OBJECT.fullmatch(file.path.name)
        }

    def runs(self) -> list[CachedRun]:
        """Every entry of the run-cache; one that cannot be read has no outputs."""
        return [_run(file) for file in self._run_files() if file.path.suffix != _HALF_WRITTEN]

    def drop(self, files: Iterable[StoredFile]) -> None:
        """Delete files of the run-cache: entries and half-written ones. If a folder has no other file, delete it too.

        DVC 3.67 looks for the newest entry in each folder, and raises a TypeError for an empty one. So the folder is
        removed in one rename. The next call deletes what a kill leaves of it.
        """
        gone = self._runs / ".gone"
        shutil.rmtree(gone, ignore_errors=True)
        dropped = {file.path for file in files}
        for folder in {path.parent for path in dropped}:
            if dropped.issuperset(folder.iterdir()):
                os.rename(folder, gone)
                shutil.rmtree(gone)
        for path in dropped:
            path.unlink(missing_ok=True)

    def half_written(self) -> list[StoredFile]:
        """Temporary files of a killed DVC: it writes an object next to its final path, then renames it."""
        places = [self.folder, *_two_letter_folders(self.folder)]
        files = [file for place in places if place.is_dir() for file in stored_files(place)]
        return [file for file in files if file.path.suffix == _HALF_WRITTEN]

    def half_written_runs(self) -> list[StoredFile]:
        """The same in the run-cache."""
        return [file for file in self._run_files() if file.path.suffix == _HALF_WRITTEN]

    def with_contents(self, hashes: Iterable[str]) -> set[str]:
        """These objects, and the files of the folders among them. Raises CollectError for a damaged listing."""
        found: set[str] = set()
        for oid in set(hashes):
            found.add(oid)
            if oid.endswith(FOLDER_SUFFIX):
                found.update(self._listed_in(oid))
        return found

    def files_of(self, oid: str) -> dict[str, str]:
        """The files of a folder, name -> hash; empty if the listing is missing or damaged."""
        return read_listing(self._store, oid) or {}

    def oid_at(self, path: Path) -> str | None:
        """The hash of the object at a path; None if the path is not in the cache."""
        if path.parent.parent != self.folder:
            return None
        return f"{path.parent.name}{path.name}"

    def _listed_in(self, oid: str) -> Iterable[str]:
        files = read_listing(self._store, oid)
        path = Path(self._store.oid_to_path(oid))
        if files is None and path.exists():
            raise CollectError(
                f"{path}: this listing of a folder in use is damaged, so the files in use are unknown; nothing was "
                "freed. Delete it, then fetch it (genai data pull) or create it again (genai run)"
            )
        return (files or {}).values()

    def _run_files(self) -> Iterator[StoredFile]:
        for first in _two_letter_folders(self._runs):
            for folder in (path for path in first.iterdir() if path.is_dir()):
                yield from stored_files(folder)


def _run(file: StoredFile) -> CachedRun:
    try:
        return CachedRun(file, outputs_of_run(file.path.read_bytes(), str(file.path)))
    except GitError:
        return CachedRun(file, ())


def _two_letter_folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.iterdir() if len(path.name) == 2 and path.is_dir())


def stored_files(folder: Path) -> Iterator[StoredFile]:
    """The files of one folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # an active run's temporary file
                if entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    yield StoredFile(Path(entry.path), stat.st_size, stat.st_nlink, stat.st_ctime)
