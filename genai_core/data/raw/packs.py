"""Packs: the images of data/raw/NAME in a few uncompressed tar files, data/raw/NAME/*.tar, members CLASS/file or file.

A text member holds captions (captions.py). Captions are short, so a pack's contents include them.

DVC examines every file of data/raw each time, so its cost grows with their number; a pack is one file. Any tar program
opens a pack, and a tar that a user puts there counts as one. Nothing is ever unpacked: an image is read from its pack
by offset (locations.py). A member that names another path, a link or a device can therefore only be rejected.

The headers are not read with tarfile, which takes 3.8 times as long: 2.3 s for 60,000 members instead of 0.61 s
(benchmarks/libraries.py). It also ends without an error at a damaged header and at a cut between members, so images
would be lost unnoticed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.captions import MAX_TEXT_BYTES, is_caption_name, parse_captions
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.locations import Member, PackReader
from genai_core.data.raw.name_column import Names
from genai_core.data.raw.rules import is_bad_name, is_hidden, is_image_name, kind_of_file, printable

BLOCK_BYTES = 512
PACK_EXTENSION = ".tar"
END_OF_PACK = bytes(2 * BLOCK_BYTES)
# For long names, times and similar; a header that claims to be larger is not valid.
_MAX_EXTENDED_BYTES = 1 << 20
_CHECKED_AT_ONCE = 4096
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_FILES, _FOLDER = frozenset(b"0\x007"), ord("5")
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"xgLK"
_KINDS = {ord("1"): "a link", ord("2"): "a link", ord("3"): "a device", ord("4"): "a device", ord("6"): "a pipe"}
_MAGIC = b"ustar\x00"

Sizes = TypeVar("Sizes", int, Indices)


@dataclass(frozen=True)
class PackTexts:
    """Text members of a pack, in its order: T of them, whether or not an image has that stem.

    names, starts, offsets, sizes: (T,) as of a Pack's images. captions: (T) one caption per line, "" if there are none.
    faults: why captions were left out, by index.
    """

    names: Names
    starts: Indices
    offsets: Indices
    sizes: Indices
    captions: Names
    faults: dict[int, str]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def none(cls) -> "PackTexts":
        nothing = np.empty(0, dtype=np.int64)
        return cls(Names.of([]), nothing, nothing, nothing, Names.of([]), {})


@dataclass(frozen=True)
class Pack:
    """Contents of a pack, in its order: N images, and what else was found.

    names: (N) CLASS/file or file. starts, offsets, sizes: (N,) in bytes: begin of an image's headers, begin of its
    content, length of its content. end: end of the last member of any kind. rejected: members that are not used, by
    their names in the pack. damage: why the pack as a whole cannot be trusted, or None.
    """

    names: Names
    starts: Indices
    offsets: Indices
    sizes: Indices
    end: int = 0
    rejected: tuple[RejectedFile, ...] = ()
    skipped: dict[str, int] | None = None  # number of files by kind: no image extension, hidden
    damage: str | None = None
    texts: PackTexts = field(default_factory=PackTexts.none)


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
    headers: bytes


def is_pack(path: str) -> bool:
    """Whether a path in data/raw is a pack: NAME/x.tar."""
    return path.count("/") == 1 and path.lower().endswith(PACK_EXTENSION)


def padded(size: Sizes) -> Sizes:
    """Return the bytes that `size` bytes of content take in a tar."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def read_pack(path: Path) -> Pack:
    """Read the headers of a pack. Raises OSError; damage and rejected members are part of the result."""
    names: list[str] = []
    extents: list[tuple[int, int, int]] = []
    texts: list[str] = []
    text_extents: list[tuple[int, int, int]] = []
    rejected: list[RejectedFile] = []
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
                rejected.append(RejectedFile(printable(name), "bad_pack", f"is {_KINDS.get(entry.kind, 'not a file')}"))
            elif not _is_clean(name) and (name[0] == "/" or ".." in name.split("/")):
                rejected.append(RejectedFile(printable(name), "bad_name", "points outside the folder"))
            elif not _is_clean(name) and any(map(is_hidden, name.split("/"))):
                skipped["hidden files and folders"] += 1
            elif is_caption_name(name) and not is_bad_name(name):
                texts.append(name)
                text_extents.append((entry.start, entry.offset, entry.size))
            elif not is_image_name(name):
                skipped[kind_of_file(name)] += 1
            elif is_bad_name(name):
                rejected.append(RejectedFile(printable(name), "bad_name", "not UTF-8, or control characters"))
            else:
                names.append(name)
                extents.append((entry.start, entry.offset, entry.size))
    except _DamagedError as error:
        damage = str(error)
    starts, offsets, sizes = np.array(extents, dtype=np.int64).reshape(-1, 3).T.copy()
    skipped_files = dict(sorted(skipped.items()))
    read = _read_texts(path, texts, text_extents) if texts and damage is None else PackTexts.none()
    return Pack(Names.of(names), starts, offsets, sizes, end, tuple(rejected), skipped_files, damage, read)


def _read_texts(path: Path, names: list[str], extents: list[tuple[int, int, int]]) -> PackTexts:
    captions: list[str] = []
    faults: dict[int, str] = {}
    with PackReader() as reader:
        for number, (name, (_, offset, size)) in enumerate(zip(names, extents, strict=True)):
            # One byte more than the limit is enough to see that a text is too long.
            member = Member(str(path), offset, min(size, MAX_TEXT_BYTES + 1), name)
            text, fault = parse_captions(reader.read(member))
            captions.append(text)
            if fault is not None:
                faults[number] = fault
    starts, offsets, sizes = np.array(extents, dtype=np.int64).reshape(-1, 3).T.copy()
    return PackTexts(Names.of(names), starts, offsets, sizes, Names.of(captions), faults)


def _is_clean(name: str) -> bool:
    """Quick check that no part of a path is empty, hidden, ".." or a system file; true for nearly all paths."""
    return not (
        name[:1] in ("/", ".", "")
        or "/." in name
        or "//" in name
        or "__MACOSX" in name
        or "Thumbs.db" in name
        or "desktop.ini" in name
    )


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the members of a tar, with verified checksums. Raises _DamagedError at the first damaged one.

    Supports the formats in use: POSIX with extended headers (pax), and GNU with long names. A tar without an end marker
    counts as damaged: it may have been truncated between two members.
    """
    with path.open("rb", buffering=0) as file:
        walk = _walk(file.fileno(), os.fstat(file.fileno()).st_size)
        damage: _DamagedError | None = None
        batch: list[_Entry] = []
        while damage is None:
            batch = []
            try:
                for entry in walk:
                    batch.append(entry)
                    if len(batch) == _CHECKED_AT_ONCE:
                        break
            except _DamagedError as error:
                damage = error
            _check(batch)
            yield from batch
            if len(batch) < _CHECKED_AT_ONCE:
                break
        if damage is not None:
            raise damage


def _walk(file: int, total: int) -> Iterator[_Entry]:
    """Yield the members of a tar without verifying checksums."""
    position = start = 0
    headers = b""
    name: bytes | None = None
    long_size: int | None = None
    while (header := os.pread(file, BLOCK_BYTES, position)) != _ZERO_BLOCK:
        if len(header) < BLOCK_BYTES:
            raise _DamagedError(f"it is truncated at byte {total:,}")
        headers += header
        kind, offset = header[156], position + BLOCK_BYTES
        size = _number(header[124:136]) if long_size is None or kind not in _FILES else long_size
        position = offset + (0 if kind in _KINDS or kind == _FOLDER else padded(size))
        if position > total:
            raise _DamagedError(f"it is truncated at byte {total:,}, in a member of {size:,} bytes")
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
                    raise _DamagedError(f"a sparse file at byte {offset:,}; pack it as a regular file")
        else:
            yield _Entry(_name(header) if name is None else name, kind, start, offset, size, position, headers)
            start, headers, name, long_size = position, b"", None, None


def _check(entries: list[_Entry]) -> None:
    """Verify the checksums of many headers at once."""
    headers = b"".join(entry.headers for entry in entries)
    blocks = np.frombuffer(headers, dtype=np.uint8).reshape(-1, BLOCK_BYTES)
    sums = blocks.sum(axis=1, dtype=np.int64) - blocks[:, 148:156].sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    stored = [_number(headers[begin + 148 : begin + 156]) for begin in range(0, len(headers), BLOCK_BYTES)]
    wrong = np.flatnonzero(sums != np.array(stored, dtype=np.int64))
    if len(wrong):
        raise _DamagedError(
            f"not a tar, or a damaged one: header {wrong[0] + 1:,} of those from byte "
            f"{entries[0].start:,} on has a wrong checksum"
        )


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == _MAGIC:
        return header[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _number(field: bytes) -> int:
    """Parse a number in a header: octal digits or, for large numbers, binary with the first bit set."""
    try:
        number = int(field.strip(b" \0") or b"0", 8) if field[0] < 128 else int.from_bytes(field[1:], "big")
    except ValueError:
        raise _DamagedError("not a tar, or a damaged one: a header has an invalid number") from None
    if not 0 <= number < 1 << 62:
        raise _DamagedError("not a tar, or a damaged one: a header has an impossible number")
    return number


def _decimal(field: bytes) -> int:
    if not field.isdigit() or len(field) > 18:
        raise _DamagedError("an extended header has an invalid number")
    return int(field)


def _pax_fields(block: bytes, offset: int) -> dict[bytes, bytes]:
    """Parse the records `LENGTH KEY=VALUE\\n` of an extended header."""
    fields = {}
    while block.strip(b"\0"):
        length, space, rest = block.partition(b" ")
        if not space or not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(block):
            raise _DamagedError(f"a damaged extended header at byte {offset:,}")
        key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        fields[key] = value
        block = block[int(length) :]
    return fields
