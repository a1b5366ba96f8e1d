"""Taking images out of data/raw/NAME again: wrong labels, removal requests. Packs that hold them are written anew."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from genai_core.data.cache.known_files import carry_over
from genai_core.data.dataset.facts import Indices
from genai_core.data.ingest.packing.pack_writer import pack_name, pack_number, sync_and_close
from genai_core.data.ingest.packing.packed_images import PackedImages
from genai_core.data.ingest.staging import staging
from genai_core.data.raw.pack_indexes import part_hashes, remember_pack
from genai_core.data.raw.packs import END_OF_PACK, Pack, padded
from genai_core.data.raw.rules import find_images

_CHUNK_BYTES = 1 << 20
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Removed:
    """What a removal took away, or would take."""

    images: tuple[str, ...]  # NAME/CLASS/file, sorted
    left_images: int
    rewritten_packs: int  # those with images left; packs without are deleted
    unmatched: tuple[str, ...]  # patterns that no image has


def remove_images(
    raw: Path,
    name: str,
    patterns: Sequence[str] | None,
    *,
    indexes: Path | None = None,
    memory: Path | None = None,
    dry_run: bool = False,
) -> Removed:
    """Remove the images of raw/NAME that one of the patterns names.

    patterns: names CLASS/file (or NAME/CLASS/file), or globs of them, in which * stands for any text, slashes too.
    None: all of NAME. An empty sequence is an error, not all of it: it is what a list that came out empty looks like.
    indexes, memory: the folders in which is kept what is in each pack and what prepare found there; what is known of
    the images that stay is carried over. A folder without images goes, with its source.json. When that fails in the
    middle, no image but those named is gone.
    Raises ValueError without a pattern or when nothing matches, NotADirectoryError when there is no such folder.
    """
    folder = raw / name
    if not name or "/" in name or name.startswith(".") or not folder.is_dir():
        known = ", ".join(sorted(path.name for path in raw.glob("[!.]*") if path.is_dir())) or "nothing"
        raise NotADirectoryError(f"{folder}: no such folder; there is {known}")
    if patterns is not None and not patterns:
        raise ValueError(f"{folder}: no name and no pattern was given; nothing was removed; --all takes all of {name}")
    packed = PackedImages(folder, indexes)
    alone = find_images(folder, lambda _path: True).files
    wanted, unmatched = _matching({*packed, *alone}, name, patterns)
    if not wanted:
        shown = ", ".join(unmatched[:3]) + (" ..." if len(unmatched) > 3 else "")
        why = f"no image is named {shown}; nothing was removed" if unmatched else "empty"
        raise ValueError(f"{folder}: {why}")
    goes = {file: _rows(pack, wanted) for file, pack in packed.packs.items()}
    total = len(alone) + sum(len(pack.names) for pack in packed.packs.values())
    files = [path for path in alone if path in wanted]
    left = total - len(files) - sum(map(len, goes.values()))
    touched = [file for file, rows in goes.items() if len(rows)]
    kept = [file for file in touched if len(goes[file]) < len(packed.packs[file].names)]
    if not dry_run:
        with staging(raw) as beside:
            if left == 0:
                os.rename(folder, beside / name)
            else:
                new = [(file, _without(folder / file, packed.packs[file], goes[file], beside)) for file in kept]
                parts = [part_hashes(path) for _, path in new] if indexes else []
                for file, path in new:
                    os.replace(path, folder / path.name)
                    if path.name != file:
                        (folder / file).unlink()
                for file in sorted(set(touched) - set(kept)):
                    (folder / file).unlink()
                for image in files:
                    (folder / image).unlink()
                    _delete_if_empty((folder / image).parent, folder)
                for (file, path), hashes in zip(new, parts, strict=bool(indexes)):
                    assert indexes is not None
                    pack, rows = _pack_without(packed.packs[file], goes[file])
                    stamp = remember_pack(folder / path.name, pack, hashes, indexes)
                    if memory is not None:
                        carry_over(memory, packed.stamps[file], stamp, rows)
    return Removed(tuple(f"{name}/{image}" for image in sorted(wanted)), left, len(kept) if left else 0, unmatched)


def _matching(names: set[str], name: str, patterns: Sequence[str] | None) -> tuple[set[str], tuple[str, ...]]:
    """The names that a pattern stands for, and the patterns that stand for none."""
    if patterns is None:
        return set(names), ()
    wanted: set[str] = set()
    unmatched = []
    for pattern in patterns:
        found: set[str] = set()
        for form in {pattern, pattern.removeprefix(f"{name}/")}:
            if form in names:
                found.add(form)
            elif _GLOB & set(form):
                found.update(image for image in names if fnmatchcase(image, form))
        wanted |= found
        if not found:
            unmatched.append(pattern)
    return wanted, tuple(unmatched)


def _rows(pack: Pack, wanted: set[str]) -> Indices:
    if wanted.isdisjoint(pack.names):
        return np.empty(0, dtype=np.int64)
    return np.array([row for row, image in enumerate(pack.names) if image in wanted], dtype=np.int64)


def _without(path: Path, pack: Pack, rows: Indices, folder: Path) -> Path:
    """The same pack without some of its images, in `folder`: whatever else is in it stays, byte by byte."""
    new, digest = folder / "pack.new", hashlib.sha256()
    with path.open("rb", buffering=0) as source, new.open("wb") as target:
        for begin, end in _kept_parts(pack, rows):
            position = begin
            while position < end:
                chunk = os.pread(source.fileno(), min(end - position, _CHUNK_BYTES), position)
                if not chunk:
                    raise OSError(f"{path} ends at byte {position:,}, expected {end:,}; nothing was removed")
                target.write(chunk)
                digest.update(chunk)
                position += len(chunk)
        target.write(END_OF_PACK)
        digest.update(END_OF_PACK)
        sync_and_close(target)
    number = pack_number(path.name)
    name = path.name if number is None else pack_name(number, digest.hexdigest())
    return new.rename(folder / name)


def _pack_without(pack: Pack, rows: Indices) -> tuple[Pack, Indices]:
    """What is in the new pack, and which of the old one's images these are."""
    sizes = pack.offsets[rows] + padded(pack.sizes[rows]) - pack.starts[rows]
    kept = np.setdiff1d(np.arange(len(pack.names)), rows)
    before = np.concatenate([[0], np.cumsum(sizes)])[np.searchsorted(rows, kept)]
    starts, offsets = pack.starts[kept] - before, pack.offsets[kept] - before
    end = pack.end - int(sizes.sum())
    return Pack(
        pack.names.at(kept), starts, offsets, pack.sizes[kept], end, pack.faults, pack.skipped, pack.damage
    ), kept


def _kept_parts(pack: Pack, rows: Indices) -> Iterator[tuple[int, int]]:
    """The parts of a pack, (begin, end) in bytes, without the headers and contents of some of its images."""
    position = 0
    for row in rows.tolist():
        if position < pack.starts[row]:
            yield position, int(pack.starts[row])
        position = int(pack.offsets[row]) + padded(int(pack.sizes[row]))
    if position < pack.end:
        yield position, pack.end


def _delete_if_empty(folder: Path, stop: Path) -> None:
    while folder != stop and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
