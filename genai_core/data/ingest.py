"""Taking a user's images into data/raw: a built-in set, a folder or an archive becomes data/raw/NAME."""

import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genai_core.data import builtin
from genai_core.data.archives import ARCHIVE_EXTENSIONS, archive_stem, is_archive, unpack_images
from genai_core.data.sources import count_classes, find_images

BUILTIN_PREFIX = "builtin:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SPLIT_FOLDERS = {"train", "test", "validation", "val"}


@dataclass(frozen=True)
class Added:
    """What an ingest did."""

    name: str
    added_images: int
    kept_images: int  # were there before, with the same bytes
    classes: dict[str, int]  # images of this source by class; empty: unlabelled
    skipped: dict[str, int]
    bad_names: tuple[str, ...]
    wrapper: str | None  # the folder around everything in the source, which was left out of the names
    split_folders: tuple[str, ...]  # classes that look like a separation into train and test


def add_source(
    source: str, into: Path, name: str | None = None, on_copied: Callable[[int, int], None] | None = None
) -> Added:
    """Copy the images of `source` to into/NAME; all of them or, when anything is wrong, none.

    source: builtin:digits, a folder (class folders, or flat) or a zip or tar archive of one. name: by default the
    source's. Adding to a NAME that is there appends: a file that is there with the same bytes is kept. on_copied(done,
    total) follows the copying. Raises ValueError or an OSError that says what to do.
    """
    name = _checked_name(name) if name is not None else _default_name(source)
    with _staging(into) as staging:
        folder = _as_folder(source, into, staging / "source")
        found = find_images(folder)
        wrapper = None if source.startswith(BUILTIN_PREFIX) else _wrapper(found.files)
        # Path in data/raw/NAME -> file in the source.
        files = {path.removeprefix(f"{wrapper}/") if wrapper else path: folder / path for path in found.files}
        target = into / name
        new = {path: file for path, file in files.items() if not _is_there(target / path, file, name)}
        _copy(new, staging / "images", on_copied)
        _move_in(staging / "images", target, list(new))
    classes = count_classes([f"{name}/{path}" for path in files])
    return Added(
        name=name,
        added_images=len(new),
        kept_images=len(files) - len(new),
        classes=classes,
        skipped=found.skipped,
        bad_names=found.bad_names,
        wrapper=wrapper,
        split_folders=tuple(classes) if classes and set(classes) <= _SPLIT_FOLDERS else (),
    )


def _as_folder(source: str, into: Path, unpacked: Path) -> Path:
    """The folder that holds the source's files: itself, or `unpacked` after unpacking."""
    if source.startswith(BUILTIN_PREFIX):
        # Its name was checked when data/raw/NAME was chosen.
        builtin.write_digits(unpacked)
        return unpacked
    path = Path(source)
    if path.is_dir():
        inside, outside = path.resolve(), into.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise ValueError(f"{source}: {into} cannot be added to itself; name a folder apart from it")
        return path
    if not path.exists():
        raise FileNotFoundError(f"{source}: no such folder or archive; built in: {_builtin_names()}")
    if not path.is_file() or not is_archive(path):
        raise ValueError(
            f"{source}: expected a folder, an archive ({', '.join(ARCHIVE_EXTENSIONS)}) or {_builtin_names()}; "
            "put single images into a folder"
        )
    unpacked.mkdir()
    unpack_images(path, unpacked)
    return unpacked


def _default_name(source: str) -> str:
    if source.startswith(BUILTIN_PREFIX):
        name = source.removeprefix(BUILTIN_PREFIX)
        if name not in builtin.NAMES:
            raise ValueError(f"{source}: there is no such built-in dataset; there are: {_builtin_names()}")
        return name
    path = Path(source).resolve()
    stem = archive_stem(path) if is_archive(path) else path.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64]
    if not name:
        raise ValueError(f"{source}: no name can be made of it; give one with --as NAME")
    return name


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"--as {name}: allowed are letters, digits, '.', '_' and '-', a letter or digit first, 64 at most"
        )
    return name


def _builtin_names() -> str:
    return ", ".join(BUILTIN_PREFIX + name for name in builtin.NAMES)


def _wrapper(files: tuple[str, ...]) -> str | None:
    """The one folder that everything lies in, when there are folders in it: photos/shirt/1.jpg, photos/hat/2.jpg."""
    tops = {path.split("/", 1)[0] for path in files}
    return tops.pop() if len(tops) == 1 and all(path.count("/") >= 2 for path in files) else None


def _is_there(target: Path, file: Path, name: str) -> bool:
    """Whether the file is in data/raw already. Raises ValueError when another one has its place."""
    if not os.path.lexists(target):
        return False
    if target.is_file() and filecmp.cmp(file, target, shallow=False):
        return True
    raise ValueError(
        f"{target} is there with other content, nothing was added; to keep both, add the source under another name: "
        f"--as {name}-2"
    )


def _copy(files: Mapping[str, Path], folder: Path, on_copied: Callable[[int, int], None] | None) -> None:
    for done, (path, file) in enumerate(files.items(), start=1):
        copy = folder / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        if on_copied is not None:
            on_copied(done, len(files))


def _move_in(folder: Path, target: Path, paths: list[str]) -> None:
    """Move the copies to their place; when that fails in the middle, those that were moved go again."""
    if not paths:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.rename(folder, target)
        return
    moved: list[Path] = []
    try:
        for path in paths:
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder / path, place)
            moved.append(place)
    except BaseException:
        for place in moved:
            place.unlink()
        raise


@contextmanager
def _staging(into: Path) -> Iterator[Path]:
    """An empty folder beside `into`, on the same file system; one that a killed run left is removed."""
    folder = into.with_name(f".{into.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
