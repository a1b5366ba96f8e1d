"""The state of a watched folder or file by names, sizes and times. Reads no contents."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from flows.data.addresses import is_address
from flows.redact import without_secrets
from flows.workspace import RAW_DATA
from genai_core import GenaiError


class WatchError(GenaiError):
    """The source does not exist or cannot be watched; the message says what to do."""


@dataclass(frozen=True)
class Folder:
    """The state of a watched folder or file. stamp: a hash of names, sizes and times; differs between states."""

    files: int
    stamp: str
    changed_at: float  # seconds since the epoch


def look_at(source: str, workspace: Path) -> Folder:
    """The state of a watched folder or file, by names, sizes and times of its files. Raises WatchError.

    Files that are removed or renamed meanwhile are skipped, and the folder counts as changed just now.
    """
    if is_address(source):
        raise WatchError(
            f"watch.source: {without_secrets(source)}: only a local folder or file can be watched; mount it"
        )
    path = Path(os.path.normpath(workspace / Path(source).expanduser()))
    raw = workspace / RAW_DATA
    if path == raw or raw in path.parents:
        raise WatchError(f"watch.source: {path} is inside {RAW_DATA}; name the folder in which new images arrive")
    digest, files = hashlib.sha256(), 0
    try:
        changed_at = path.stat().st_mtime
        found = _files(path)
    except FileNotFoundError:
        raise WatchError(f"watch.source: {path}: no such folder or file; is it mounted?") from None
    except OSError as error:
        raise WatchError(f"watch.source: {error.filename or path} cannot be read: {error.strerror or error}") from None
    if found.vanished:
        changed_at = time.time()
    for name, stat in sorted(found.files):
        files += 1
        changed_at = max(changed_at, stat.st_mtime, stat.st_ctime)
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return Folder(files, digest.hexdigest(), changed_at)


def is_settled(folder: Folder, settle_s: float, now: float) -> bool:
    """Whether nothing changed for `settle_s`. A time in the future, from another machine's clock, counts as old."""
    return folder.changed_at > now or now - folder.changed_at >= settle_s


@dataclass(frozen=True)
class _Found:
    """vanished: a listed file or folder was gone when it was examined."""

    files: tuple[tuple[str, os.stat_result], ...]
    vanished: bool = False


def _files(path: Path) -> _Found:
    """Every file below a folder, or the file itself, by its path. Links to folders are not followed.

    Raises OSError if the folder itself is gone, or something cannot be read.
    """
    if path.is_file():
        return _Found((("", path.stat()),))
    found: list[tuple[str, os.stat_result]] = []
    vanished, folders = False, [(str(path), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            if not prefix:
                raise
            vanished = True
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file():
                    found.append((f"{prefix}{entry.name}", entry.stat()))
            except (FileNotFoundError, NotADirectoryError):
                vanished = True
    return _Found(tuple(found), vanished)
