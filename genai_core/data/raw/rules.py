"""Which files of a folder are images, which are skipped and why; and the class in a path."""

import os
import re
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genai_core.data.raw.formats import IMAGE_EXTENSIONS, Reason

# Files and folders that operating systems and network storage create, in lower case.
_SYSTEM_FILES = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
# Kinds of files that could be images but are never opened, with the reason.
REFUSED: dict[str, Reason] = {"links": "link", "special files": "special_file"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Found:
    """Result of the search. files: paths of images relative to the folder, with "/", sorted."""

    files: tuple[str, ...]
    bad_names: tuple[str, ...]  # image files whose names cannot be written into tables, made printable
    skipped: dict[str, int]  # number of skipped files by kind (links, hidden files, other types)
    refused: dict[str, Reason]  # the links and special files among them, by path, made printable
    packs: tuple[str, ...] = ()  # packs, if is_pack was passed
    texts: tuple[str, ...] = ()  # texts, if is_text was passed, sorted


def find_images(
    folder: Path,
    is_pack: Callable[[str], bool] = lambda _path: False,
    is_text: Callable[[str], bool] = lambda _path: False,
) -> Found:
    """Find every image file below `folder`, by name. Links are followed only to files in the same folder.

    is_pack: whether a path is a pack of images. is_text: whether it may be the captions of one. Raises
    NotADirectoryError when `folder` is not a folder and ValueError when it contains no image file and no pack.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder of images, but it does not exist")
    files: list[str] = []
    bad_names: list[str] = []
    packs: list[str] = []
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    refused: dict[str, Reason] = {}
    for path, kind in walk(folder, folder.resolve()):
        if kind == "folder":
            continue
        if kind != "file":
            skipped[kind] += 1
            if kind in REFUSED:
                refused[printable(path)] = REFUSED[kind]
        elif is_source_note(path):
            pass  # data/raw/NAME/source.json is read by source_json.py
        elif is_image_name(path) and not is_bad_name(path):
            files.append(path)
        elif is_image_name(path):
            bad_names.append(printable(path))
        elif is_text(path) and not is_bad_name(path):
            texts.append(path)
        elif is_pack(path) and not is_bad_name(path):
            packs.append(path)
        else:
            skipped[kind_of_file(path)] += 1
    if not files and not bad_names and not packs:
        raise ValueError(f"{folder}: contains no image files; {accepted_formats()}")
    return Found(
        tuple(sorted(files)),
        tuple(sorted(bad_names)),
        dict(sorted(skipped.items())),
        refused,
        tuple(sorted(packs)),
        tuple(sorted(texts)),
    )


def is_image_name(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122 - a tenth of Path.suffix's time


def kind_of_file(path: str) -> str:
    """Return the kind under which a skipped file is counted: ".txt files"."""
    return f"{Path(printable(path)).suffix.lower() or 'unnamed'} files"


def is_source_note(path: str) -> bool:
    """Whether a path in data/raw is NAME/source.json."""
    return path.count("/") == 1 and path.endswith("/source.json")


def accepted_formats() -> str:
    return f"supported extensions: {', '.join(sorted(IMAGE_EXTENSIONS))}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system file: .git, ._x.jpg, .DS_Store, __MACOSX."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def is_bad_name(path: str) -> bool:
    """Whether a path cannot be written into a table: not UTF-8, or control characters such as a newline."""
    if path.isascii() and path.isprintable():  # the usual case, and cheap to check
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
    """Return the class of a file in data/raw: CLASS for NAME/CLASS/.../file, None for NAME/file."""
    parts = path.split("/")
    return sys.intern(parts[1]) if len(parts) > 2 else None  # one string per class, not per image


def sorted_runs(paths: Sequence[str], depth: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of paths that share their first `depth` folders; paths in fewer folders one by one.

    paths: sorted. The cost grows with the number of such folders, not of paths.
    """
    begin = 0
    while begin < len(paths):
        parts = paths[begin].split("/", depth)
        # Everything in a/b sorts before "a/b0": "0" is the character after "/".
        end = bisect_left(paths, "/".join(parts[:depth]) + "0", begin) if len(parts) > depth else begin + 1
        yield begin, end
        begin = end


def count_classes(paths: Sequence[str]) -> dict[str, int]:
    """Count images by class, sorted by class; unlabelled ones are skipped. Paths are those of data/raw."""
    return dict(sorted(Counter(name for path in paths if (name := class_of(path)) is not None).items()))


def walk(folder: Path, root: Path, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path relative to the root, kind): file, folder, or why it is skipped. A hidden folder counts as one."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = above + entry.name
            if is_hidden(entry.name):
                yield path, "hidden files and folders"
            elif entry.is_symlink():
                yield path, "file" if is_safe_link(Path(entry.path), root) else "links"
            elif entry.is_dir():
                yield path, "folder"
                yield from walk(Path(entry.path), root, path + "/")
            else:
                yield path, "file" if entry.is_file() else "special files"


def is_safe_link(link: Path, root: Path) -> bool:
    """Whether a link leads to a file below `root`, or in DVC's cache."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or a loop
        return False
    return target.is_file() and (target.is_relative_to(root) or _is_cache_object(target))


def _is_cache_object(target: Path) -> bool:
    # DVC with `cache.type symlink` makes every tracked file a link to .../files/md5/ab/cdef...
    return target.parts[-4:-2] == ("files", "md5") and bool(
        re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{30}", "/".join(target.parts[-2:]))
    )
