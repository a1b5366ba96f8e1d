"""Which files of a folder are images to take, and which are left out and why; and the class that a path says."""

import os
import re
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genai_core.data.raw.formats import IMAGE_EXTENSIONS, Reason

# What systems leave between a person's files.
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
# Kinds of file that may stand for an image, and the reason for which they are not opened.
REFUSED: dict[str, Reason] = {"links": "link", "special files": "special_file"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Found:
    """files: paths of images relative to the folder, with "/", sorted whatever order the file system has."""

    files: tuple[str, ...]
    bad_names: tuple[str, ...]  # image files whose names cannot be written into tables, made printable
    skipped: dict[str, int]  # what was left out (links, hidden files, other kinds of file) and how often
    refused: dict[str, Reason]  # of these the links and special files, by path, made printable
    packs: tuple[str, ...] = ()  # files that hold images, where these are asked for


def find_images(folder: Path, is_pack: Callable[[str], bool] = lambda _path: False) -> Found:
    """Every image file below `folder`, by name. Links are followed only to files of the same folder.

    is_pack: tells by its path a file that holds images. Raises NotADirectoryError when it is no folder and ValueError
    when it holds no image file and no pack.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder of images, there is none")
    files: list[str] = []
    bad_names: list[str] = []
    packs: list[str] = []
    skipped: Counter[str] = Counter()
    refused: dict[str, Reason] = {}
    for path, fault in _walk(folder, folder.resolve()):
        if fault:
            skipped[fault] += 1
            if fault in REFUSED:
                refused[printable(path)] = REFUSED[fault]
        elif is_source_note(path):
            pass  # data/raw/NAME/source.json is read by source_json.py
        elif is_image_name(path) and not is_bad_name(path):
            files.append(path)
        elif is_image_name(path):
            bad_names.append(printable(path))
        elif is_pack(path) and not is_bad_name(path):
            packs.append(path)
        else:
            skipped[kind_of_file(path)] += 1
    if not files and not bad_names and not packs:
        raise ValueError(f"{folder}: no image file in it; {accepted_formats()}")
    return Found(
        tuple(sorted(files)), tuple(sorted(bad_names)), dict(sorted(skipped.items())), refused, tuple(sorted(packs))
    )


def is_image_name(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122 - a tenth of Path.suffix's time


def kind_of_file(path: str) -> str:
    """What a file that is no image is counted as: .txt files."""
    return f"{Path(printable(path)).suffix.lower() or 'unnamed'} files"


def is_source_note(path: str) -> bool:
    """Whether a path of data/raw is that of NAME/source.json."""
    return path.count("/") == 1 and path.endswith("/source.json")


def accepted_formats() -> str:
    return f"files that end in {', '.join(sorted(IMAGE_EXTENSIONS))} are taken"


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system's own: .git, ._x.jpg, .DS_Store, __MACOSX."""
    return name.startswith(".") or name in _LITTER


def is_bad_name(path: str) -> bool:
    """Whether a path cannot stand in a table: bytes that are no UTF-8, or control characters such as a line's end."""
    if path.isascii() and path.isprintable():  # nearly all, and quickly told
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return bool(_CONTROL.search(path))


def printable(path: str) -> str:
    escaped = path.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), escaped)


def class_of(path: str) -> str | None:
    """The class of a file of data/raw: NAME/CLASS/.../file has CLASS, NAME/file has none."""
    parts = path.split("/")
    return sys.intern(parts[1]) if len(parts) > 2 else None  # one string a class, not one an image


def sorted_runs(paths: Sequence[str], depth: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the paths that have their first `depth` folders in common; those in fewer folders one by one.

    paths: sorted. Costs as much as there are such folders.
    """
    begin = 0
    while begin < len(paths):
        parts = paths[begin].split("/", depth)
        # All that lies in a/b comes before "a/b0": the sign after "/" is "0".
        end = bisect_left(paths, "/".join(parts[:depth]) + "0", begin) if len(parts) > depth else begin + 1
        yield begin, end
        begin = end


def count_classes(paths: Sequence[str]) -> dict[str, int]:
    """Images by class, sorted by class; unlabelled ones are left out. Paths are those of data/raw."""
    return dict(sorted(Counter(name for path in paths if (name := class_of(path)) is not None).items()))


def _walk(folder: Path, root: Path, above: str = "") -> Iterator[tuple[str, str | None]]:
    """(path relative to the root, why it is left out or None) of every file, hidden folders as one."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = above + entry.name
            if is_litter(entry.name):
                yield path, "hidden files and folders"
            elif entry.is_symlink():
                yield path, None if _is_safe_link(Path(entry.path), root) else "links"
            elif entry.is_dir():
                yield from _walk(Path(entry.path), root, path + "/")
            else:
                yield path, None if entry.is_file() else "special files"


def _is_safe_link(link: Path, root: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or a circle
        return False
    return target.is_file() and (target.is_relative_to(root) or _is_cache_object(target))


def _is_cache_object(target: Path) -> bool:
    # DVC with `cache.type symlink` makes every tracked file a link to .../files/md5/ab/cdef...
    return target.parts[-4:-2] == ("files", "md5") and bool(
        re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{30}", "/".join(target.parts[-2:]))
    )
