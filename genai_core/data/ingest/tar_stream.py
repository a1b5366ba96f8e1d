"""Read untrusted tar archives within limits. tarfile itself reads extended headers of any size into memory.

Long names, pax headers and the maps of sparse files come before the member that they describe, so a check of members
comes too late: 1.8 MB of gzip can hold a name of 400 MB, which takes 1.2 GB of memory.
"""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

# Headers may take so many bytes at once, and so many per member on average. A name of 255 characters takes 2,048.
_AT_ONCE_BYTES, _PER_MEMBER_BYTES = 1 << 20, 8 << 10


class TooLargeError(Exception):
    """A tar over the limits. The text continues "the archive ..."."""


class _Bounded:
    """A stream for tarfile that limits how far it is read, and how many bytes may be read for headers."""

    def __init__(self, stream: io.BufferedIOBase, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.for_headers: int | None = _AT_ONCE_BYTES  # bytes left; None: no limit

    def read(self, size: int) -> bytes:
        if self.for_headers is not None:
            self.for_headers -= size
            if self.for_headers < 0:
                raise TooLargeError(f"has headers of more than {_AT_ONCE_BYTES:,} bytes")
        self._check(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._max_bytes:
            raise TooLargeError(f"unpacks to more than {self._max_bytes:,} bytes")


@contextmanager
def open_tar(path: Path, max_bytes: int) -> Iterator[tarfile.TarFile]:
    """Open a tar, compressed or not, for `entries` and then extractfile().

    max_bytes: of the decompressed tar. Reading raises TooLargeError beyond the limits, and what tarfile and the
    decompressors raise.
    """
    with _decompressed(path) as stream, tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream, max_bytes))) as opened:
        yield opened


def entries(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members one by one; the limit of headers holds until the last one is read."""
    stream = cast(_Bounded, opened.fileobj)
    for entry in opened:
        # tarfile keeps all members; the headers' values are in their attributes.
        entry.pax_headers = {}
        assert stream.for_headers is not None
        stream.for_headers = min(_AT_ONCE_BYTES, stream.for_headers + _PER_MEMBER_BYTES)
        yield entry
    stream.for_headers = None


def _decompressed(path: Path) -> io.BufferedIOBase:
    """Open by the first bytes: people rename archives."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if head.startswith(b"BZh"):
        return bz2.open(path)
    return lzma.open(path) if head == b"\xfd7zXZ\0" else path.open("rb")
