"""Read the raw files of a dataset: the hashes of all, the pixels only of new images."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from genai_core.config import DataConfig
from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.cache.file_records import (
    FileRecords,
    RecordCache,
    extension_codes,
    load,
    match_stamps,
    save,
    stamp_files,
    take_by_content,
)
from genai_core.data.dataset.facts import Indices, Pixels, take_rows
from genai_core.data.decoding.image import DecodeRule
from genai_core.data.decoding.pool import Worker
from genai_core.data.prepare.decode_new import Decoding, OnDecoded
from genai_core.data.prepare.pixel_store import PreviousPixels, Spool
from genai_core.data.raw.images import RawImages
from genai_core.data.raw.locations import hash_locations

HASHED_AT_ONCE = 1024


@dataclass(frozen=True)
class ReadFiles:
    """Records of the files (N), and where their pixels are: in the spool, in the previous version, or nowhere (-1).

    index: of the pixel hashes, zeros for rejected files. An image with a cached record but without pixels is decoded
    when first requested, because it may not be needed: for example, a near duplicate that is dropped.
    """

    files: FileRecords
    index: DigestIndex
    spool: Spool
    previous: PreviousPixels
    previous_index: Indices
    decoding: Decoding

    def pixels_at(self, indices: Indices) -> Pixels:
        """Return the pixels of some files, (n, C, H, W)."""
        spool_index = self.decoding.spool_index
        if ((spool_index[indices] < 0) & (self.previous_index[indices] < 0)).any():
            self._decode_missing()
        in_spool = spool_index[indices] >= 0
        new = self.spool.at(spool_index[indices[in_spool]])
        if in_spool.all():
            return new
        old = self.previous.at(self.previous_index[indices[~in_spool]])
        pixels = np.empty((len(indices), *old.shape[1:]), dtype=np.uint8)
        pixels[in_spool], pixels[~in_spool] = new, old
        return pixels

    def _decode_missing(self) -> None:
        is_missing = (self.decoding.spool_index < 0) & (self.previous_index < 0)
        is_missing[list(self.files.rejected)] = False
        missing = np.flatnonzero(is_missing)
        before = self.files.records["sha256"][missing]
        self.decoding.decode(missing)
        if (self.files.records["sha256"][missing] != before).any():
            raise ValueError("images changed while the dataset was being made; run prepare again")


def decode_rule(config: DataConfig) -> DecodeRule:
    return DecodeRule(config.image_size, config.channels, config.fit, config.background, config.max_megapixels)


def read_files(
    images: RawImages,
    config: DataConfig,
    *,
    spool: Spool,
    load_previous: Callable[[], PreviousPixels],
    cache_folder: Path | None,
    workers: int,
    started: Sequence[Worker] = (),
    on_decoded: OnDecoded,
    on_known: Callable[[DigestIndex], None],
) -> ReadFiles:
    """Check every image's stamp; decode the images that are not cached.

    load_previous: called while images are decoded. cache_folder: None: decode every file.
    started: decoding processes that already run. on_known: called during decoding with an index of the hashes known so
    far; it does not contain the other images.
    """
    rule = decode_rule(config)
    total = len(images)
    on_decoded(0, total)
    record_cache = None if cache_folder is None else RecordCache(cache_folder, rule)
    files, new_rows = FileRecords.empty(total), np.arange(total)
    to_save: dict[Path, Indices] = {}
    if record_cache is not None:
        new_rows, to_save = _take_known(images, files, record_cache, workers)
    is_known = np.ones(total, dtype=np.bool_)
    is_known[new_rows] = False
    is_known[list(files.rejected)] = False
    digests = np.ascontiguousarray(files.records["sha256"])

    @cache
    def look_up() -> tuple[PreviousPixels, DigestIndex, Indices]:
        known = DigestIndex.of_rows(digests, np.flatnonzero(is_known))
        previous = load_previous()
        previous_index = previous.find(known)
        on_known(known)
        return previous, known, previous_index

    decoding = Decoding(images, files, spool, rule, workers=workers, started=started, on_decoded=on_decoded)
    decoding.decode(new_rows, meanwhile=look_up)
    if len(new_rows) == 0:
        on_decoded(total, total)
    if record_cache is not None:
        for path, rows in to_save.items():
            save(path, files.at(rows))
        record_cache.delete_others([record_cache.of_files(), *map(record_cache.of_pack, images.stamps)])
    previous, known, previous_index = look_up()
    others = np.flatnonzero(~is_known)
    digests[others] = files.records["sha256"][others]
    index = DigestIndex.of_rows(digests, np.concatenate([known.order, others]))
    return ReadFiles(files, index, spool, previous, previous_index, decoding)


def _take_known(
    images: RawImages, files: FileRecords, record_cache: RecordCache, workers: int
) -> tuple[Indices, dict[Path, Indices]]:
    """Fill in cached records, first by stamps, then by content.

    Returns the rows to decode, and for each cache file the rows to save in it.
    """
    new_parts, to_save = [], {}
    # Rows in storage order, grouped by pack.
    stored = np.lexsort((images.member, images.pack)) if images.packs else np.arange(len(images))
    ends = np.cumsum(np.bincount(images.pack + 1, minlength=1 + len(images.packs)))
    loose, *packed = np.split(stored, ends[:-1])
    for rows, stamp in zip(packed, images.stamps, strict=True):
        path = record_cache.of_pack(stamp)
        known = None if stamp.is_racy else load(path, with_hashes=False)
        if known is None or len(known.records) != len(rows):
            new_parts.append(rows)
            to_save[path] = rows
            continue
        files.take(known, rows)
        if known.again and (whole := load(path)) is not None:
            files.file_sha256[rows], files.extensions[rows] = whole.file_sha256, whole.extensions
            new_parts.append(rows[list(whole.again)])
            to_save[path] = rows
    if len(loose):
        stamps, extensions = stamp_files(images, loose), extension_codes(images.names.at(loose))
        files.stamps[loose], files.extensions[loose] = stamps, extensions
        known = load(record_cache.of_files()) or FileRecords.empty(0)
        same = match_stamps(known, stamps, extensions)
        files.take(known, loose[same >= 0], same[same >= 0])
        files.file_sha256[loose[same >= 0]] = take_rows(known.file_sha256, same[same >= 0])
        new_parts.append(loose[same < 0])
        if (same < 0).any() or len(known.records) != len(loose):
            to_save[record_cache.of_files()] = loose
    new_rows = images.in_storage_order(np.concatenate([np.empty(0, dtype=np.int64), *new_parts]))
    files.extensions[new_rows] = extension_codes(images.names.at(new_rows))
    cache_paths = record_cache.all()
    if not cache_paths:
        return np.sort(new_rows), to_save
    # Hashing does not parse the files, so it is safe in this process, and faster than starting another.
    begins = range(0, len(new_rows), HASHED_AT_ONCE)
    batches = [images.locations(new_rows[begin : begin + HASHED_AT_ONCE]) for begin in begins]
    with ThreadPoolExecutor(workers) as threads:
        digests = b"".join(threads.map(hash_locations, batches))
    files.file_sha256[new_rows] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    return take_by_content(cache_paths, files, new_rows), to_save
