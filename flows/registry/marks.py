"""Detect whether a laid-out folder is unchanged, by a mark file beside it.

Its links point into DVC's cache, whose objects may be removed or damaged, and a user may change fetched files. Like
git's index, the mark has inode, size and modification time of each file, or of the object that a link points to.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from flows.whole_file import write_json


def is_as_marked(path: Path, md5: str) -> bool:
    """Whether the folder at `path` still has every file of the version `md5`, unchanged since it was marked."""
    try:
        mark = json.loads(_mark_of(path).read_text())
        return bool(mark["md5"] == md5 and mark["files"] == _stamps(path, mark["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def mark(path: Path, md5: str, names: Iterable[str]) -> None:
    """Record that `path` has that version, with these files. Raises OSError."""
    write_json(_mark_of(path), {"md5": md5, "files": _stamps(path, names)})


def _mark_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.md5")


def _stamps(path: Path, names: Iterable[str]) -> dict[str, list[int]]:
    stats = {name: (path / name).stat() for name in names}
    return {name: [stat.st_ino, stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
