"""Remove images and their captions from data/raw/NAME: wrong labels, removal requests. Rewrites the packs with them."""

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
from genai_core.data.raw.captions import is_caption_name, stem_of
from genai_core.data.raw.pack_indexes import part_hashes, remember_pack
from genai_core.data.raw.packs import END_OF_PACK, Pack, PackTexts, padded
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
    found = find_images(folder, lambda _path: True, is_caption_name)
    loose = found.files
    wanted, unmatched = _matching({*packed, *loose}, name, patterns)
    if not wanted:
        shown = ", ".join(unmatched[:3]) + (" ..." if len(unmatched) > 3 else "")
        why = f"no image matches {shown}; nothing was removed" if unmatched else "empty"
        raise ValueError(f"{folder}: {why}")
    stems: set[str] = set()
    if packed.has_texts or found.texts:
        # An image that stays keeps the captions that it shares with a removed one.
        stems = set(map(stem_of, wanted)) - {stem_of(image) for image in (*packed, *loose) if image not in wanted}
    goes = {file: _goes(pack, wanted, stems) for file, pack in packed.packs.items()}
    total = len(loose) + sum(len(pack.names) for pack in packed.packs.values())
    files = [path for path in loose if path in wanted]
    left = total - len(files) - sum(len(rows.images) for rows in goes.values())
    touched = [file for file, rows in goes.items() if len(rows.images) or len(rows.texts)]
    kept = [file for file in touched if goes[file].leaves_any_of(packed.packs[file])]
    files += [path for path in found.texts if stem_of(path) in stems]
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


@dataclass(frozen=True)
class _Goes:
    """What leaves a pack: rows of its images and of its texts, rising."""

    images: Indices
    texts: Indices

    def leaves_any_of(self, pack: Pack) -> bool:
        return len(self.images) < len(pack.names) or len(self.texts) < len(pack.texts)


def _goes(pack: Pack, wanted: set[str], stems: set[str]) -> _Goes:
    images = [] if wanted.isdisjoint(pack.names) else [row for row, name in enumerate(pack.names) if name in wanted]
    texts = [row for row, name in enumerate(pack.texts.names) if stem_of(name) in stems]
    return _Goes(np.array(images, dtype=np.int64), np.array(texts, dtype=np.int64))


def _without(path: Path, pack: Pack, goes: _Goes, folder: Path) -> Path:
    """Copy a pack to `folder` without some of its members; everything else stays byte for byte."""
    new, digest = folder / "pack.new", hashlib.sha256()
    with path.open("rb", buffering=0) as source, new.open("wb") as target:
        for begin, end in _kept_parts(pack, goes):
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


def _pack_without(pack: Pack, goes: _Goes) -> tuple[Pack, Indices]:
    """Return the contents of the new pack, and the rows of its images in the old one."""
    begins, ends = _removed_parts(pack, goes)
    before = np.concatenate([[0], np.cumsum(ends - begins)])

    def moved(positions: Indices) -> Indices:
        return np.asarray(positions - before[np.searchsorted(begins, positions, side="right")])

    kept = np.setdiff1d(np.arange(len(pack.names)), goes.images)
    old, of_texts = pack.texts, np.setdiff1d(np.arange(len(pack.texts)), goes.texts)
    texts = PackTexts(
        old.names.at(of_texts),
        moved(old.starts[of_texts]),
        moved(old.offsets[of_texts]),
        old.sizes[of_texts],
        old.captions.at(of_texts),
        {number: old.faults[row] for number, row in enumerate(of_texts.tolist()) if row in old.faults},
    )
    starts, offsets, sizes = moved(pack.starts[kept]), moved(pack.offsets[kept]), pack.sizes[kept]
    end = pack.end - int(before[-1])
    rest = (pack.rejected, pack.skipped, pack.damage)
    return Pack(pack.names.at(kept), starts, offsets, sizes, end, *rest, texts), kept


def _removed_parts(pack: Pack, goes: _Goes) -> tuple[Indices, Indices]:
    """Return begins and ends, in bytes and rising, of the members that leave a pack, with their headers."""
    parts = [(pack.starts, pack.offsets, pack.sizes, goes.images)]
    parts += [(pack.texts.starts, pack.texts.offsets, pack.texts.sizes, goes.texts)]
    begins = np.concatenate([starts[rows] for starts, _, _, rows in parts])
    ends = np.concatenate([offsets[rows] + padded(sizes[rows]) for _, offsets, sizes, rows in parts])
    order = np.argsort(begins)
    return begins[order], ends[order]


def _kept_parts(pack: Pack, goes: _Goes) -> Iterator[tuple[int, int]]:
    """Yield the byte ranges (begin, end) of a pack without the members that leave it."""
    position = 0
    for begin, end in zip(*(part.tolist() for part in _removed_parts(pack, goes)), strict=True):
        if position < begin:
            yield position, begin
        position = end
    if position < pack.end:
        yield position, pack.end


def _delete_if_empty(folder: Path, stop: Path) -> None:
    while folder != stop and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
