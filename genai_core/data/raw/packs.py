"""Packs: the images of data/raw/NAME in a few uncompressed tar files, data/raw/NAME/*.tar, members CLASS/file or file.

DVC looks at every file of data/raw each time, so its cost follows their number: a pack is one. Any program opens it,
and a tar that a user puts there counts as well. Nothing is ever unpacked: an image is read from its pack by its place
(locations.py), so a member that names another place, a link or a device, can do nothing but be listed as a fault.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.name_column import Names
from genai_core.data.raw.rules import is_bad_name, is_image_name, is_litter, kind_of_file, printable

BLOCK_BYTES = 512
PACK_EXTENSION = ".tar"
END_OF_PACK = bytes(2 * BLOCK_BYTES)
# Long names, times and the like; a header that says it is larger is no header.
_MAX_EXTENDED_BYTES = 1 << 20
_CHECKED_AT_ONCE = 4096
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_FILES, _FOLDER = frozenset(b"0\x007"), ord("5")
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"xgLK"
_KINDS = {ord("1"): "a link", ord("2"): "a link", ord("3"): "a device", ord("4"): "a device", ord("6"): "a pipe"}
_MAGIC = b"ustar\x00"

Sizes = TypeVar("Sizes", int, Indices)


@dataclass(frozen=True)
class PackFault:
    """A member that is not taken. name: printable, as the pack has it."""

    name: str
    reason: Literal["bad_name", "bad_pack"]
    detail: str


@dataclass(frozen=True)
class Pack:
    """What a pack holds, in its order: N images, and what else was found.

    names: (N) CLASS/file or file. starts, offsets, sizes: (N,) in bytes, where an image's headers begin, its content
    begins, and how long that is. end: where the last member ends, whatever it is. damage: why the pack as a whole
    cannot be trusted, or None.
    """

    names: Names
    starts: Indices
    offsets: Indices
    sizes: Indices
    end: int = 0
    faults: tuple[PackFault, ...] = ()
    skipped: dict[str, int] | None = None  # what is no image by its name, and how often
    damage: str | None = None


class _DamagedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    kind: int
    start: int
    offset: int
    size: int
    end: int
    heads: bytes


def is_pack(path: str) -> bool:
    """Whether a path of data/raw is that of a pack: NAME/x.tar."""
    return path.count("/") == 1 and path.lower().endswith(PACK_EXTENSION)


def padded(size: Sizes) -> Sizes:
    """The bytes that a content of `size` bytes takes in a tar."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def read_pack(path: Path) -> Pack:
    """Walk over the headers of a pack. Raises OSError; whatever is wrong in it stands in the result."""
    names: list[str] = []
    places: list[tuple[int, int, int]] = []
    faults: list[PackFault] = []
    skipped: Counter[str] = Counter()
    damage = None
    end = 0
    try:
        for entry in _entries(path):
            end = entry.end
            name = entry.name.decode("utf-8", "surrogateescape")
            if not _is_clean(name):
                name = "/".join(part for part in name.split("/") if part not in ("", ".")) if name[:1] != "/" else name
            if entry.kind == _FOLDER or not name:
                continue
            if entry.kind not in _FILES:
                faults.append(PackFault(printable(name), "bad_pack", f"is {_KINDS.get(entry.kind, 'no file')}"))
            elif not _is_clean(name) and (name[0] == "/" or ".." in name.split("/")):
                faults.append(PackFault(printable(name), "bad_name", "leads out of the folder"))
            elif not _is_clean(name) and any(map(is_litter, name.split("/"))):
                skipped["hidden files and folders"] += 1
            elif not is_image_name(name):
                skipped[kind_of_file(name)] += 1
            elif is_bad_name(name):
                faults.append(PackFault(printable(name), "bad_name", "no UTF-8, or control characters"))
            else:
                names.append(name)
                places.append((entry.start, entry.offset, entry.size))
    except _DamagedError as error:
        damage = str(error)
    starts, offsets, sizes = np.array(places, dtype=np.int64).reshape(-1, 3).T.copy()
    return Pack(Names.of(names), starts, offsets, sizes, end, tuple(faults), dict(sorted(skipped.items())), damage)


def _is_clean(name: str) -> bool:
    """Quickly, that no part of a path is empty, hidden, "..", or a system's own: nearly all."""
    return not (
        name[:1] in ("/", ".", "")
        or "/." in name
        or "//" in name
        or "__MACOSX" in name
        or "Thumbs.db" in name
        or "desktop.ini" in name
    )


def _entries(path: Path) -> Iterator[_Entry]:
    """The members of a tar, one after the other, checksums checked. Raises _DamagedError at the first fault.

    The forms that programs write: POSIX with its extended headers (pax), and GNU with its long names. A tar without
    an end is a damaged one: it may have been cut off between two members.
    """
    with path.open("rb", buffering=0) as file:
        walk = _walk(file.fileno(), os.fstat(file.fileno()).st_size)
        fault: _DamagedError | None = None
        batch: list[_Entry] = []
        while fault is None:
            batch = []
            try:
                for entry in walk:
                    batch.append(entry)
                    if len(batch) == _CHECKED_AT_ONCE:
                        break
            except _DamagedError as error:
                fault = error
            _check(batch)
            yield from batch
            if len(batch) < _CHECKED_AT_ONCE:
                break
        if fault is not None:
            raise fault


def _walk(file: int, total: int) -> Iterator[_Entry]:
    """The same, with checksums as they are."""
    position = start = 0
    heads = b""
    name: bytes | None = None
    long_size: int | None = None
    while (head := os.pread(file, BLOCK_BYTES, position)) != _ZERO_BLOCK:
        if len(head) < BLOCK_BYTES:
            raise _DamagedError(f"it is cut off at byte {total:,}")
        heads += head
        kind, offset = head[156], position + BLOCK_BYTES
        size = _number(head[124:136]) if long_size is None or kind not in _FILES else long_size
        position = offset + (0 if kind in _KINDS or kind == _FOLDER else padded(size))
        if position > total:
            raise _DamagedError(f"it is cut off at byte {total:,}, in a member of {size:,} bytes")
        if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            if size > _MAX_EXTENDED_BYTES:
                raise _DamagedError(f"a header of {size:,} bytes at byte {offset:,}")
            block = os.pread(file, size, offset)
            if kind == _GNU_NAME:
                name = block.partition(b"\0")[0]
            elif kind == _PAX:
                fields = _pax_fields(block, offset)
                name = fields.get(b"path", name)
                long_size = _decimal(fields[b"size"]) if b"size" in fields else long_size
                if any(key.startswith(b"GNU.sparse") for key in fields):
                    raise _DamagedError(f"a sparse file at byte {offset:,}; pack it without holes")
        else:
            yield _Entry(_name(head) if name is None else name, kind, start, offset, size, position, heads)
            start, heads, name, long_size = position, b"", None, None


def _check(entries: list[_Entry]) -> None:
    """The checksums of headers, many at once."""
    heads = b"".join(entry.heads for entry in entries)
    blocks = np.frombuffer(heads, dtype=np.uint8).reshape(-1, BLOCK_BYTES)
    sums = blocks.sum(axis=1, dtype=np.int64) - blocks[:, 148:156].sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    stored = [_number(heads[place + 148 : place + 156]) for place in range(0, len(heads), BLOCK_BYTES)]
    wrong = np.flatnonzero(sums != np.array(stored, dtype=np.int64))
    if len(wrong):
        raise _DamagedError(
            f"no tar, or a damaged one: header {wrong[0] + 1:,} of those from byte "
            f"{entries[0].start:,} on does not have its checksum"
        )


def _name(head: bytes) -> bytes:
    name = head[:100].partition(b"\0")[0]
    if head[345] and head[257:263] == _MAGIC:
        return head[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _number(field: bytes) -> int:
    """A number of a header: octal digits or, where these do not suffice, binary with the first bit set."""
    try:
        number = int(field.strip(b" \0") or b"0", 8) if field[0] < 128 else int.from_bytes(field[1:], "big")
    except ValueError:
        raise _DamagedError("no tar, or a damaged one: a header holds no number where one should be") from None
    if not 0 <= number < 1 << 62:
        raise _DamagedError("no tar, or a damaged one: a header holds an impossible number")
    return number


def _decimal(field: bytes) -> int:
    if not field.isdigit() or len(field) > 18:
        raise _DamagedError("an extended header holds no number where one should be")
    return int(field)


def _pax_fields(block: bytes, offset: int) -> dict[bytes, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of an extended header."""
    fields = {}
    while block.strip(b"\0"):
        length, space, rest = block.partition(b" ")
        if not space or not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(block):
            raise _DamagedError(f"a damaged extended header at byte {offset:,}")
        key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        fields[key] = value
        block = block[int(length) :]
    return fields
