"""Write packs (raw/packs.py): the same images in the same order give the same bytes and the same name.

Members are written in the order they come in. The readers yield a fixed order, so a source added in two checkouts is
the same version in both.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from genai_core.data.raw.packs import END_OF_PACK, PACK_EXTENSION, padded

# A large file costs DVC no more than a small one, but removing an image rewrites its whole pack.
MAX_PACK_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"(\d+)-[0-9a-f]{16}" + re.escape(PACK_EXTENSION))


@dataclass
class _Open:
    path: Path
    number: int
    file: IO[bytes]
    size: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)


class PackWriter:
    """Write members into packs in `folder`, starting a new pack when one is full; `finish` names them."""

    def __init__(self, folder: Path, *, first_number: int) -> None:
        self._folder = folder
        self._number = first_number
        self._open: _Open | None = None
        self.names: list[str] = []

    def add(self, name: str, content: bytes | Path, text: tuple[str, bytes] | None = None) -> None:
        """Append an image: its bytes, or the file that holds them. Raises ValueError if the file changes meanwhile.

        text: name and bytes of its captions, which follow it in the same pack.
        """
        after = b"" if text is None else _member(*text)
        if isinstance(content, bytes):
            self._begin(name, len(content), len(after)).write(content)
            size = len(content)
        else:
            with content.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                pack, left = self._begin(name, size, len(after)), size
                while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                    pack.write(chunk)
                    left -= len(chunk)
                if left or file.read(1):
                    raise ValueError(f"{content} changed while it was read; nothing was added; try again")
        assert self._open is not None
        self._open.write(bytes(padded(size) - size) + after)

    def finish(self) -> list[str]:
        """Return the names of all packs, which are now on disk."""
        self._close()
        return self.names

    def close(self) -> None:
        """Close the open file. Without `finish` before, it keeps a temporary name that nothing reads."""
        if self._open is not None:
            self._open.file.close()
            self._open = None

    def _begin(self, name: str, size: int, after: int) -> _Open:
        """Begin a member in a pack with room for it and the `after` bytes that follow."""
        header = member_header(name, size)
        if self._open and self._open.size + len(header) + padded(size) + after + len(END_OF_PACK) > MAX_PACK_BYTES:
            self._close()
        if self._open is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._number}.new"
            self._open = _Open(path, self._number, path.open("xb"))
            self._number += 1
        self._open.write(header)
        return self._open

    def _close(self) -> None:
        if self._open is None:
            return
        self._open.write(END_OF_PACK)
        sync_and_close(self._open.file)
        name = pack_name(self._open.number, self._open.digest.hexdigest())
        os.rename(self._open.path, self._folder / name)
        self.names.append(name)
        self._open = None


def member_header(name: str, size: int) -> bytes:
    """Return a member's headers, without time or owner."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _member(name: str, content: bytes) -> bytes:
    """Return a whole member."""
    return member_header(name, len(content)) + content + bytes(padded(len(content)) - len(content))


def pack_name(number: int, sha256: str) -> str:
    return f"{number:04d}-{sha256[:16]}{PACK_EXTENSION}"


def pack_number(name: str) -> int | None:
    """Return the number of a pack written by this module; None for any other tar."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def next_number(names: Iterable[str]) -> int:
    """Return one more than the highest existing number."""
    return max((number for name in names if (number := pack_number(name)) is not None), default=-1) + 1


def sync_and_close(file: IO[bytes]) -> None:
    """Flush to disk, so that a machine crash leaves no file with its final name but without its bytes."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
