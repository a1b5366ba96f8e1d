"""What killed commands left below .genai, and files of versions that are no longer in production."""

import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from flows.registry.production import PLACE
from flows.registry.read import read_registry

# An active command writes to its folder far more often.
UNTOUCHED_S = 86400.0

# Half-made outputs, and folders that a command makes for itself and deletes at its end. Not among them: checkpoints,
# worktrees, what prepare and backfill remember, logs, and what people look at.
_LEFT_BY_KILLED = (
    ".genai/new/*",
    ".genai/compared*",
    ".genai/diff*",
    ".genai/fetched*",
    ".genai/drawn-*",
    ".genai/backfill/*/tmp*",
    f"{PLACE}/*/tmp*",
    f"{PLACE}/*/samples/*",
    f"{PLACE}/*/.genai/new/*",
    ".dvc/tmp/incoming",
)
# Folders below .genai that do not contain links into the cache.
_NO_LINKS = {"cache", "checkpoints", "follow", "logs", "prefect", "progress", "runs", "worktrees"}


@dataclass(frozen=True)
class Scratch:
    """A folder or file that may be deleted. size_bytes: of the files in it without other hard links."""

    path: Path
    kind: str  # ".genai/new"
    files: int
    size_bytes: int


def scratch_in(folder: Path) -> list[Scratch]:
    """What may be deleted in a checkout, each path once. Raises GitError."""
    standing = read_registry(folder).production()
    kept = standing.version if standing else None
    found = {path: path.relative_to(folder) for pattern in _LEFT_BY_KILLED for path in folder.glob(pattern)}
    for path in (folder / PLACE).glob("*/"):
        if path.name != kept:
            found = {other: name for other, name in found.items() if path not in other.parents}
            found[path] = path.relative_to(folder)
    return [
        Scratch(path, "/".join(name.parts[:2]), *_size_of(path)) for path, name in found.items() if _is_untouched(path)
    ]


def left_by_runs(checkouts: Iterable[Path]) -> list[Scratch]:
    """The checkouts that killed runs left, as what may be deleted."""
    return [Scratch(path, ".genai/runs", *_size_of(path)) for path in checkouts]


def links_below(folder: Path) -> Iterator[Path]:
    """Targets of the links below a checkout's .genai: production and other versions are links into the cache."""
    own = folder / ".genai"
    for top in own.iterdir() if own.is_dir() else ():
        if top.name not in _NO_LINKS and not top.is_symlink():
            for path in _walk(top):
                with suppress(OSError):  # not a link, or removed since
                    yield path.readlink()


def _is_untouched(path: Path) -> bool:
    return time.time() - max((stat.st_mtime for stat in _stats(path)), default=math.inf) > UNTOUCHED_S


def _size_of(path: Path) -> tuple[int, int]:
    stats = [stat for stat in _stats(path) if not S_ISDIR(stat.st_mode)]
    return len(stats), sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of the path and everything below it, but for what an active command removes meanwhile."""
    for item in (path, *_walk(path)):
        with suppress(FileNotFoundError):
            yield item.lstat()


def _walk(path: Path) -> Iterator[Path]:
    """Everything below a folder; links are not followed."""
    for place, folders, files in os.walk(path):
        yield from (Path(place) / name for name in (*folders, *files))
