"""Unpack untrusted archives: every member is checked before the first byte is written."""

import errno
import gzip
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from genai_core.data.ingest.tar_stream import TooLargeError, entries, open_tar
from genai_core.data.raw.rules import is_hidden, printable

ARCHIVE_EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK_BYTES = 1 << 20
# What zipfile and tarfile let through from their lower layers.
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(ValueError, LookupError, OverflowError, RuntimeError, MemoryError),  # nonsensical numbers and names
)


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits for an archive. Images hardly compress: a ratio of 100 is not an archive of images."""

    max_members: int = 5_000_000
    max_total_bytes: int = 512 << 30
    max_ratio: float = 100.0
    ratio_free_bytes: int = 64 << 20  # no ratio check up to this size: a few blank images compress a lot

    def unpacked_bytes(self, packed_bytes: int) -> int:
        """How large an archive of `packed_bytes` may become by its ratio."""
        return max(self.ratio_free_bytes, int(packed_bytes * self.max_ratio))


class _RefusedError(ValueError):
    """An archive refused by the checks in this file."""


@dataclass(frozen=True)
class _Member:
    name: str
    bytes: int
    fault: str | None  # why the member is refused
    is_file: bool
    entry: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_EXTENSIONS)


def archive_stem(path: Path) -> str:
    """Return the archive's name without its extensions: photos for photos.tar.gz."""
    longest = max((end for end in ARCHIVE_EXTENSIONS if path.name.lower().endswith(end)), key=len)
    return path.name[: -len(longest)]


def unpack(archive: Path, folder: Path, is_wanted: Callable[[str], bool], limits: ArchiveLimits | None = None) -> None:
    """Write the files of a zip or tar archive whose name (without folders) `is_wanted` into the empty `folder`.

    Hidden files are skipped. Raises ValueError, before anything is written, when a member points outside the folder, is
    a link or a special file, or when the archive exceeds the limits or the free space.
    """
    limits = limits or ArchiveLimits()
    try:
        with _opened(archive, limits) as opened:
            wanted = _checked(archive, _members(opened), is_wanted, limits, folder)
            for name, member in wanted.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(archive, opened, member, path)
    except _RefusedError:
        raise
    except TooLargeError as error:
        raise ValueError(
            f"{archive}: refused, nothing was unpacked: the archive {error}; if you trust it, unpack it yourself and "
            "add the folder"
        ) from None
    except (*_DAMAGED, OSError) as error:
        # An error with errno comes from the system (a full disk), except when two member names conflict or a path is
        # impossible. An error without errno comes from a decompressor.
        if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST, errno.ENOTDIR, errno.EINVAL):
            raise
        raise ValueError(f"{archive}: damaged, or not a supported archive ({error})") from None


@contextmanager
def _opened(archive: Path, limits: ArchiveLimits) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield opened
    else:
        with open_tar(archive, limits.unpacked_bytes(archive.stat().st_size)) as opened_tar:
            yield opened_tar


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Member]:
    """Yield members one by one, so that the check can stop in the middle of a tar that would unpack for hours."""
    if isinstance(opened, zipfile.ZipFile):
        for item in opened.infolist():
            fault = "is encrypted; unpack it with its password and add the folder" if item.flag_bits & 1 else None
            # The upper half holds the Unix mode, if any.
            kind = (item.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000, 0o040000):
                fault = "is a link or a special file"
            yield _Member(item.filename, item.file_size, fault, not item.filename.endswith("/"), item)
    else:
        for entry in entries(opened):
            fault = None if entry.isfile() or entry.isdir() else "is a link or a special file"
            yield _Member(entry.name, entry.size, fault, entry.isfile(), entry)


def _checked(
    archive: Path, members: Iterator[_Member], is_wanted: Callable[[str], bool], limits: ArchiveLimits, folder: Path
) -> dict[str, _Member]:
    """Return the members to write, by their target path. Raises ValueError at the first fault."""
    packed_bytes = archive.stat().st_size
    allowed_bytes = min(limits.max_total_bytes, limits.unpacked_bytes(packed_bytes))
    free_bytes = shutil.disk_usage(folder).free
    wanted: dict[str, _Member] = {}
    total_bytes = 0
    for count, member in enumerate(members, start=1):
        name = printable(member.name)
        fault = member.fault or _name_fault(member.name)
        if fault:
            raise _RefusedError(f"{archive}: refused, nothing was unpacked: member {name} {fault}")
        total_bytes += member.bytes
        if count > limits.max_members:
            raise _RefusedError(f"{archive}: refused, nothing was unpacked: more than {limits.max_members:,} members")
        if total_bytes > allowed_bytes:
            raise _RefusedError(
                f"{archive}: refused, nothing was unpacked: its {packed_bytes:,} bytes unpack to more than "
                f"{allowed_bytes:,}; if you trust it, unpack it yourself and add the folder"
            )
        if total_bytes > free_bytes:
            raise _RefusedError(
                f"{archive}: nothing was unpacked: it needs more than the {free_bytes:,} bytes of free space"
            )
        # tar names a/b.png "./a/b.png" when it packs the current folder.
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.is_file and parts and not any(map(is_hidden, parts)) and is_wanted(parts[-1]):
            path = "/".join(parts)
            if path in wanted:
                raise _RefusedError(f"{archive}: refused, nothing was unpacked: two members are named {name}")
            wanted[path] = member
    return wanted


def _name_fault(name: str) -> str | None:
    # On Windows a backslash or a drive letter can escape the folder.
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        return "has an absolute path or a backslash in its name"
    if ".." in name.split("/"):
        return "points outside the folder"
    if not name or "\0" in name or any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        return "has an invalid file name"
    return None


def _write(archive: Path, opened: zipfile.ZipFile | tarfile.TarFile, member: _Member, path: Path) -> None:
    source: IO[bytes] | None
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.entry, zipfile.ZipInfo)
        source = opened.open(member.entry)
    else:
        assert isinstance(member.entry, tarfile.TarInfo)
        source = opened.extractfile(member.entry)
    assert source is not None
    left = member.bytes
    with source, path.open("xb") as target:
        # The header states the size. Stop a longer member here, not on a full disk.
        while chunk := source.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise _RefusedError(f"{archive}: refused: member {printable(member.name)} is larger than stated")
            target.write(chunk)
    if left:
        raise _RefusedError(f"{archive}: damaged: member {printable(member.name)} is shorter than stated")
