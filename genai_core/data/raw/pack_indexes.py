"""Pack indexes: one private file per pack with its contents, so that an unchanged pack is recognised by its times.

Safe to delete: the headers of the pack are then read again. A pack changed less than RACY_NS before it was read is read
again next time, because it may have changed within the resolution of its times. If its writer stored the hashes of its
parts, they are compared instead, which takes a tenth of the time.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.cache_file import (
    CACHE_EXTENSION,
    Array,
    CacheMissError,
    delete_caches,
    read_cache,
    write_cache,
)
from genai_core.data.raw import captions, packs
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.name_column import Names
from genai_core.data.raw.packs import Pack, PackTexts, read_pack

_TEXTS = ("names", "text_names", "captions")
_NUMBERS = ("ends", "extents", "text_ends", "text_extents", "caption_ends")
_ARRAYS: dict[str, npt.DTypeLike] = {**dict.fromkeys(_TEXTS, np.uint8), **dict.fromkeys(_NUMBERS, np.int64)}

RACY_NS = 2_000_000_000
PART_BYTES = 8 << 20


@dataclass(frozen=True)
class PackStamp:
    """inode, size, mtime and ctime in ns, and whether the pack changed just before it was examined."""

    values: tuple[int, int, int, int]
    is_racy: bool

    @property
    def key(self) -> int:
        """A 62-bit key for the values."""
        return int.from_bytes(hashlib.sha256(repr(self.values).encode()).digest()[:8], "little") >> 2


def stamp_pack(path: Path) -> PackStamp:
    """Return the stamp of a pack. Raises OSError."""
    now_ns = time.time_ns()
    stat = path.stat()
    values = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return PackStamp(values, max(stat.st_mtime_ns, stat.st_ctime_ns) > now_ns - RACY_NS)


def indexed_pack(path: Path, indexes: Path | None) -> tuple[Pack, PackStamp]:
    """Return a pack's contents, from its index in the folder `indexes` or else from the pack. Raises OSError."""
    stamp = stamp_pack(path)
    if indexes is None:
        return read_pack(path), stamp
    index = index_path(path, indexes)
    saved = _load(index, stamp)
    if saved is None:
        pack = read_pack(path)
        _save(index, pack, stamp)
        return pack, stamp
    pack, was_racy, parts = saved
    if not was_racy:
        return pack, stamp
    if parts is None or part_hashes(path) != parts or stamp_pack(path).values != stamp.values:
        pack = read_pack(path)
        _save(index, pack, stamp)
        return pack, stamp
    if not stamp.is_racy:
        _save(index, pack, stamp, parts)
    # All parts were just compared, so the contents are certain.
    return pack, PackStamp(stamp.values, is_racy=False)


def remember_pack(path: Path, pack: Pack, parts: tuple[str, ...], indexes: Path) -> PackStamp:
    """Save the index of a pack that was just written. parts: from part_hashes. Raises OSError."""
    stamp = stamp_pack(path)
    _save(index_path(path, indexes), pack, stamp, parts)
    return PackStamp(stamp.values, is_racy=False)


def part_hashes(path: Path) -> tuple[str, ...]:
    """Return the sha256 of each PART_BYTES of a file. Raises OSError."""

    def hashed(begin: int) -> str:
        with path.open("rb", buffering=0) as file:
            digest, left = hashlib.sha256(), PART_BYTES
            file.seek(begin)
            while left and (chunk := file.read(min(left, 1 << 20))):
                digest.update(chunk)
                left -= len(chunk)
            return digest.hexdigest()

    with ThreadPoolExecutor(2) as threads:
        return tuple(threads.map(hashed, range(0, path.stat().st_size, PART_BYTES)))


def delete_other_indexes(paths: Iterable[Path], indexes: Path) -> None:
    """Delete the indexes of other packs than these."""
    delete_caches(indexes, "", [index_path(path, indexes) for path in paths])


def index_path(path: Path, indexes: Path) -> Path:
    """Return the path of a pack's index."""
    name = f"{path.parent.name}/{path.name}"  # NAME/x.tar: independent of where data/raw is
    return indexes / (hashlib.sha256(os.fsencode(name)).hexdigest()[:32] + CACHE_EXTENSION)


def _code() -> str:
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (packs, captions))
    return hashlib.sha256(code).hexdigest()


def _load(index: Path, stamp: PackStamp) -> tuple[Pack, bool, tuple[str, ...] | None] | None:
    """Load the pack, whether it had changed just before it was examined, and the hashes of its parts if stored."""
    try:
        arrays, metadata = read_cache(index, _ARRAYS)
        if metadata["stamp"] != list(stamp.values) or metadata["code"] != _code():
            return None
        names, extents = Names.from_text(arrays["names"], arrays["ends"]), arrays["extents"]
        of_texts, text_extents = Names.from_text(arrays["text_names"], arrays["text_ends"]), arrays["text_extents"]
        written = Names.from_text(arrays["captions"], arrays["caption_ends"])
        if (extents.shape, text_extents.shape) != ((3, len(names)), (3, len(of_texts))) or len(written) != len(
            of_texts
        ):
            return None
        faults = {int(index): str(fault) for index, fault in metadata["faults"].items()}
        texts = PackTexts(of_texts, text_extents[0], text_extents[1], text_extents[2], written, faults)
        rejected = tuple(RejectedFile(*values) for values in metadata["rejected"])
        end, skipped, damage = metadata["end"], metadata["skipped"], metadata["damage"]
        pack = Pack(names, extents[0], extents[1], extents[2], end, rejected, skipped, damage, texts)
        return pack, bool(metadata["racy"]), tuple(metadata["parts"]) if metadata["parts"] is not None else None
    except (CacheMissError, KeyError, TypeError):
        return None


def _save(index: Path, pack: Pack, stamp: PackStamp, parts: tuple[str, ...] | None = None) -> None:
    metadata = {
        "stamp": stamp.values,
        "racy": stamp.is_racy,
        "parts": parts,
        "code": _code(),
        "end": pack.end,
        "rejected": pack.rejected,
        "skipped": pack.skipped,
        "damage": pack.damage,
        "faults": pack.texts.faults,
    }
    names, ends = pack.names.to_text()
    text_names, text_ends = pack.texts.names.to_text()
    written, caption_ends = pack.texts.captions.to_text()
    arrays: dict[str, Array] = {"names": names, "ends": ends, "extents": _extents(pack)}
    arrays.update(text_names=text_names, text_ends=text_ends, text_extents=_extents(pack.texts))
    arrays.update(captions=written, caption_ends=caption_ends)
    write_cache(index, arrays, metadata)


def _extents(members: Pack | PackTexts) -> npt.NDArray[np.int64]:
    return np.stack([members.starts, members.offsets, members.sizes])
