"""Read the raw files of a dataset: the hashes of all, the pixels only of new images."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from genai_core.config import DataConfig
from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.cache.known_files import (
    Files,
    KnownRawFiles,
    endings_of,
    load,
    same_stamps,
    save,
    stamp_files,
    take_same_content,
)
from genai_core.data.dataset.facts import Indices, Pixels, rows_at
from genai_core.data.decoding.image import DecodeRule
from genai_core.data.decoding.pool import Worker
from genai_core.data.prepare.decode_new import Decoding, OnDecoded
from genai_core.data.prepare.pixel_store import OldPixels, Spool
from genai_core.data.raw.images import RawImages
from genai_core.data.raw.locations import hash_locations

HASHED_AT_ONCE = 1024


@dataclass(frozen=True)
class ReadFiles:
    """Records of the files (N), and where their pixels are: in the spool, in the previous version, or nowhere (-1).

    index: of the pixel hashes, zeros for rejected files. An image with a cached record but without pixels is decoded
    when first requested, because it may not be needed: for example, a near duplicate that is dropped.
    """

    files: Files
    index: DigestIndex
    spool: Spool
    old: OldPixels
    old_place: Indices
    decoding: Decoding

    def pixels_at(self, indices: Indices) -> Pixels:
        """Return the pixels of some files, (n, C, H, W)."""
        spool_place = self.decoding.spool_place
        if ((spool_place[indices] < 0) & (self.old_place[indices] < 0)).any():
            self._decode_lost()
        in_spool = spool_place[indices] >= 0
        new = self.spool.at(spool_place[indices[in_spool]])
        if in_spool.all():
            return new
        old = self.old.at(self.old_place[indices[~in_spool]])
        pixels = np.empty((len(indices), *old.shape[1:]), dtype=np.uint8)
        pixels[in_spool], pixels[~in_spool] = new, old
        return pixels

    def _decode_lost(self) -> None:
        is_lost = (self.decoding.spool_place < 0) & (self.old_place < 0)
        is_lost[list(self.files.rejected)] = False
        lost = np.flatnonzero(is_lost)
        before = self.files.records["sha256"][lost]
        self.decoding.decode(lost)
        if (self.files.records["sha256"][lost] != before).any():
            raise ValueError("images changed while the dataset was being made; run prepare again")


def decode_rule(config: DataConfig) -> DecodeRule:
    return DecodeRule(config.image_size, config.channels, config.fit, config.background, config.max_megapixels)


def read_files(
    images: RawImages,
    config: DataConfig,
    *,
    spool: Spool,
    old: Callable[[], OldPixels],
    memory: Path | None,
    workers: int,
    started: Sequence[Worker] = (),
    on_decoded: OnDecoded,
    on_known: Callable[[DigestIndex], None],
) -> ReadFiles:
    """Check every image's stamp; decode the images that are not cached.

    old: returns the previous version; called while images are decoded. memory: cache folder; None: decode every file.
    started: decoding processes that already run. on_known: called during decoding with an index of the hashes known so
    far; it does not contain the other images.
    """
    rule = decode_rule(config)
    total = len(images)
    on_decoded(0, total)
    kept = None if memory is None else KnownRawFiles(memory, rule)
    files, open_rows = Files.empty(total), np.arange(total)
    to_save: dict[Path, Indices] = {}
    if kept is not None:
        open_rows, to_save = _take_known(images, files, kept, workers)
    is_known = np.ones(total, dtype=np.bool_)
    is_known[open_rows] = False
    is_known[list(files.rejected)] = False
    digests = np.ascontiguousarray(files.records["sha256"])

    @cache
    def look_up() -> tuple[OldPixels, DigestIndex, Indices]:
        known = DigestIndex.of_rows(digests, np.flatnonzero(is_known))
        before = old()
        places = before.find(known)
        on_known(known)
        return before, known, places

    decoding = Decoding(images, files, spool, rule, workers=workers, started=started, on_decoded=on_decoded)
    decoding.decode(open_rows, meanwhile=look_up)
    if len(open_rows) == 0:
        on_decoded(total, total)
    if kept is not None:
        for path, rows in to_save.items():
            save(path, files.at(rows))
        kept.forget_all_but([kept.of_files(), *map(kept.of_pack, images.stamps)])
    before, known, old_place = look_up()
    others = np.flatnonzero(~is_known)
    digests[others] = files.records["sha256"][others]
    index = DigestIndex.of_rows(digests, np.concatenate([known.order, others]))
    return ReadFiles(files, index, spool, before, old_place, decoding)


def _take_known(
    images: RawImages, files: Files, kept: KnownRawFiles, workers: int
) -> tuple[Indices, dict[Path, Indices]]:
    """Fill in cached records, first by stamps, then by content.

    Returns the rows to decode, and for each cache file the rows to save in it.
    """
    open_parts, to_save = [], {}
    # Rows in storage order, grouped by pack.
    stored = np.lexsort((images.member, images.pack)) if images.packs else np.arange(len(images))
    ends = np.cumsum(np.bincount(images.pack + 1, minlength=1 + len(images.packs)))
    loose, *packed = np.split(stored, ends[:-1])
    for rows, stamp in zip(packed, images.stamps, strict=True):
        path = kept.of_pack(stamp)
        known = None if stamp.is_racy else load(path, with_contents=False)
        if known is None or len(known.records) != len(rows):
            open_parts.append(rows)
            to_save[path] = rows
            continue
        files.take(known, rows)
        if known.again and (whole := load(path)) is not None:
            files.contents[rows], files.endings[rows] = whole.contents, whole.endings
            open_parts.append(rows[list(whole.again)])
            to_save[path] = rows
    if len(loose):
        stamps, endings = stamp_files(images, loose), endings_of(images.names.at(loose))
        files.stamps[loose], files.endings[loose] = stamps, endings
        known = load(kept.of_files()) or Files.empty(0)
        same = same_stamps(known, stamps, endings)
        files.take(known, loose[same >= 0], same[same >= 0])
        files.contents[loose[same >= 0]] = rows_at(known.contents, same[same >= 0])
        open_parts.append(loose[same < 0])
        if (same < 0).any() or len(known.records) != len(loose):
            to_save[kept.of_files()] = loose
    open_rows = images.in_storage_order(np.concatenate([np.empty(0, dtype=np.int64), *open_parts]))
    files.endings[open_rows] = endings_of(images.names.at(open_rows))
    remembered = kept.all()
    if not remembered:
        return np.sort(open_rows), to_save
    # Hashing does not parse the files, so it is safe in this process, and faster than starting another.
    begins = range(0, len(open_rows), HASHED_AT_ONCE)
    batches = [images.places(open_rows[begin : begin + HASHED_AT_ONCE]) for begin in begins]
    with ThreadPoolExecutor(workers) as threads:
        digests = b"".join(threads.map(hash_locations, batches))
    files.contents[open_rows] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    return take_same_content(remembered, files, open_rows), to_save
