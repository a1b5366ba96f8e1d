"""Location of an image's bytes: a file (its path) or a part of a pack. Packs are read without unpacking."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

_CHUNK_BYTES = 1 << 20
# A small image that directly follows the previous one is read together with the bytes after it.
_AHEAD_BYTES, _GAP_BYTES = 1 << 16, 1 << 12
NO_HASH = bytes(32)


class Member(NamedTuple):
    """size bytes at offset of the file `pack`; name: of the image, for its extension."""

    pack: str
    offset: int
    size: int
    name: str


Location = str | Member


def name_of(location: Location) -> str:
    return location if isinstance(location, str) else location.name


def hash_locations(locations: Sequence[Location]) -> bytes:
    """Return the sha256 of each location's bytes, 32 bytes per image; NO_HASH if it cannot be read."""
    with PackReader() as packs:
        return b"".join(_hash(location, packs) for location in locations)


def _hash(location: Location, packs: "PackReader") -> bytes:
    try:
        if isinstance(location, str):
            with open(location, "rb") as file:  # noqa: PTH123 - Path.open takes longer than reading a small file
                return hashlib.file_digest(file, "sha256").digest()
        if location.size <= _CHUNK_BYTES:
            return hashlib.sha256(packs.read(location)).digest()
        digest = hashlib.sha256()
        for done in range(0, location.size, _CHUNK_BYTES):
            part = location._replace(offset=location.offset + done, size=min(location.size - done, _CHUNK_BYTES))
            digest.update(packs.read(part))
        return digest.digest()
    except OSError:
        return NO_HASH


def read_member(member: Member) -> bytes:
    """Read an image in a pack. Raises OSError."""
    with PackReader() as packs:
        return packs.read(member)


class PackReader:
    """Reads members; keeps the pack open between calls. A context manager."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._file = -1
        self._ahead, self._ahead_from = b"", 0
        self._read_to = 0

    def read(self, member: Member) -> bytes:
        """Read a member. Raises OSError, also when the pack has become too short, and MemoryError."""
        if member.pack != self._path:
            self.close()
            self._file = os.open(member.pack, os.O_RDONLY | os.O_CLOEXEC)
            self._path = member.pack
            self._ahead, self._read_to = b"", -_GAP_BYTES - 1
        follows = 0 <= member.offset - self._read_to <= _GAP_BYTES
        self._read_to = member.offset + member.size
        begin = member.offset - self._ahead_from
        if not 0 <= begin <= len(self._ahead) - member.size:
            goes_ahead = follows and member.size < _AHEAD_BYTES
            self._ahead = os.pread(self._file, _AHEAD_BYTES, member.offset) if goes_ahead else b""
            self._ahead_from, begin = member.offset, 0
        if member.size <= len(self._ahead):
            return self._ahead[begin : begin + member.size]
        parts, done = [], 0
        while done < member.size:  # one pass, except above 2 GiB
            part = os.pread(self._file, member.size - done, member.offset + done)
            if not part:
                raise OSError(f"{member.pack} ends before the end of {member.name}")
            parts.append(part)
            done += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                os.close(self._file)
            self._path = None

    def __enter__(self) -> "PackReader":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def as_location(value: str | Sequence[str | int]) -> Location:
    """Convert a location back from JSON."""
    if isinstance(value, str):
        return value
    pack, offset, size, name = value
    return Member(str(pack), int(offset), int(size), str(name))
