"""Remove images from data/raw/NAME: wrong labels, removal requests. The packs that hold them are rewritten."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from genai_core.data.cache.file_records import carry_over
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
    """Result of a removal or of its dry run."""

    images: tuple[str, ...]  # NAME/CLASS/file, sorted
    left_images: int
    rewritten_packs: int  # packs with images left; the others are deleted
    unmatched: tuple[str, ...]  # patterns that match no image


def remove_images(
    raw: Path,
    name: str,
    patterns: Sequence[str] | None,
    *,
    indexes: Path | None = None,
    cache_folder: Path | None = None,
    dry_run: bool = False,
) -> Removed:
    """Remove the images of raw/NAME that match one of the patterns.

    patterns: names CLASS/file (or NAME/CLASS/file), or globs of them; * also matches slashes. None: all of NAME. An
    empty sequence is an error and does not remove everything: a list may be empty by mistake.
    indexes, cache_folder: folders of the pack indexes and of prepare's cache; cached records of the remaining images
    are kept. A folder without images is removed, with its source.json. After a failure halfway, only images that match
    can be missing.
    Raises ValueError without a pattern or when nothing matches, NotADirectoryError when there is no such folder.
    """
    folder = raw / name
    if not name or "/" in name or name.startswith(".") or not folder.is_dir():
        known = ", ".join(sorted(path.name for path in raw.glob("[!.]*") if path.is_dir())) or "none"
        raise NotADirectoryError(f"{folder}: no such folder; existing folders: {known}")
    if patterns is not None and not patterns:
        raise ValueError(f"{folder}: no name or pattern given; nothing was removed; pass --all to remove all of {name}")
    packed = PackedImages(folder, indexes)
    loose = find_images(folder, lambda _path: True).files
    wanted, unmatched = _matching({*packed, *loose}, name, patterns)
    if not wanted:
        shown = ", ".join(unmatched[:3]) + (" ..." if len(unmatched) > 3 else "")
        why = f"no image matches {shown}; nothing was removed" if unmatched else "empty"
        raise ValueError(f"{folder}: {why}")
    goes = {file: _rows(pack, wanted) for file, pack in packed.packs.items()}
    total = len(loose) + sum(len(pack.names) for pack in packed.packs.values())
    files = [path for path in loose if path in wanted]
    left = total - len(files) - sum(map(len, goes.values()))
    touched = [file for file, rows in goes.items() if len(rows)]
    kept = [file for file in touched if len(goes[file]) < len(packed.packs[file].names)]
    if not dry_run:
        with staging(raw) as staged:
            if left == 0:
                os.rename(folder, staged / name)
            else:
                new = [(file, _without(folder / file, packed.packs[file], goes[file], staged)) for file in kept]
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
                    if cache_folder is not None:
                        carry_over(cache_folder, packed.stamps[file], stamp, rows)
    return Removed(tuple(f"{name}/{image}" for image in sorted(wanted)), left, len(kept) if left else 0, unmatched)


def _matching(names: set[str], name: str, patterns: Sequence[str] | None) -> tuple[set[str], tuple[str, ...]]:
    """Return the names that match a pattern, and the patterns without a match."""
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
    """Copy a pack to `folder` without some of its images; everything else stays byte for byte."""
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
    """Return the contents of the new pack, and the rows of its images in the old one."""
    sizes = pack.offsets[rows] + padded(pack.sizes[rows]) - pack.starts[rows]
    kept = np.setdiff1d(np.arange(len(pack.names)), rows)
    before = np.concatenate([[0], np.cumsum(sizes)])[np.searchsorted(rows, kept)]
    starts, offsets = pack.starts[kept] - before, pack.offsets[kept] - before
    end = pack.end - int(sizes.sum())
    return Pack(
        pack.names.at(kept), starts, offsets, pack.sizes[kept], end, pack.rejected, pack.skipped, pack.damage
    ), kept


def _kept_parts(pack: Pack, rows: Indices) -> Iterator[tuple[int, int]]:
    """Yield the byte ranges (begin, end) of a pack without the headers and contents of some of its images."""
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
