"""The raw files of a dataset, decoded as far as that is needed: the hashes of all, the pixels of those that are new."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from genai_core.config import DataConfig
from genai_core.data.decode import DecodeRule
from genai_core.data.decoder_pool import Worker, decode_files
from genai_core.data.digest_index import DigestIndex
from genai_core.data.facts import Indices, Pixels, rows_at
from genai_core.data.known_files import (
    Files,
    Memory,
    endings_of,
    load,
    same_stamps,
    save,
    stamp_files,
    take_same_content,
)
from genai_core.data.near import near_hashes
from genai_core.data.pixel_store import OldPixels, Spool
from genai_core.data.places import hash_places
from genai_core.data.raw_images import RawImages

OnDecoded = Callable[[int, int], None]
HASHED_AT_ONCE = 256


@dataclass(frozen=True)
class ReadFiles:
    """What is in the files (N), and where the pixels of each stand: in the spool or in the version before, or -1.

    index: of the hashes of their pixels, zeros for what is rejected.
    lost: rows that are known but whose pixels are nowhere; they are decoded once one of them is asked for.
    """

    files: Files
    index: DigestIndex
    spool: Spool
    old: OldPixels
    spool_place: Indices
    old_place: Indices
    lost: Indices
    decode: Callable[[Indices], None]

    def pixels_at(self, indices: Indices) -> Pixels:
        """The pixels of some of the files, (n, C, H, W)."""
        if ((self.spool_place[indices] < 0) & (self.old_place[indices] < 0)).any():
            before = self.files.records["sha256"][self.lost]
            self.decode(self.lost)
            if (self.files.records["sha256"][self.lost] != before).any():
                raise ValueError("images changed while the dataset was made of them; run prepare again")
        in_spool = self.spool_place[indices] >= 0
        new = self.spool.at(self.spool_place[indices[in_spool]])
        if in_spool.all():
            return new
        old = self.old.at(self.old_place[indices[~in_spool]])
        pixels = np.empty((len(indices), *old.shape[1:]), dtype=np.uint8)
        pixels[in_spool], pixels[~in_spool] = new, old
        return pixels


def decode_rule(config: DataConfig) -> DecodeRule:
    return DecodeRule(config.image_size, config.channels, config.fit, config.background, config.max_megapixels)


def read_files(
    images: RawImages,
    config: DataConfig,
    *,
    spool: Spool,
    old: OldPixels,
    memory: Path | None,
    workers: int,
    started: Sequence[Worker] = (),
    on_decoded: OnDecoded,
) -> ReadFiles:
    """Look at every image's stamp, decode those that earlier runs did not see or whose pixels are nowhere.

    memory: the folder in which is kept what was found; None: every file is decoded. started: decoding
    processes that are there already.
    """
    rule = decode_rule(config)
    total = len(images)
    on_decoded(0, total)
    kept = None if memory is None else Memory(memory, rule)
    files, open_rows = Files.empty(total), np.arange(total)
    to_save: dict[Path, Indices] = {}
    if kept is not None:
        open_rows, to_save = _take_known(images, files, kept, workers)
    is_known = np.ones(total, dtype=np.bool_)
    is_known[open_rows] = False
    is_known[list(files.rejected)] = False
    old_place = np.full(total, -1, dtype=np.int64)
    known_rows = np.flatnonzero(is_known)
    known = DigestIndex(rows_at(files.records["sha256"], known_rows))
    old_place[known_rows] = old.find(known)
    lost = known_rows[old_place[known_rows] < 0]
    if len(open_rows):  # else they may not be needed: the likes of left-out near duplicates, and no process starts
        open_rows, lost = np.union1d(open_rows, lost), lost[:0]
    spool_place = np.full(total, -1, dtype=np.int64)
    done = total - len(open_rows)

    def decode(wanted: Indices) -> None:
        nonlocal done
        wanted = images.in_storage_order(wanted)
        # NumPy's matrix products keep a thread spinning on the core that a decoding process needs.
        with threadpool_limits(1, user_api="blas"):
            for result in decode_files(images.places(wanted), rule, workers=workers, started=started):
                rows = wanted[result.first : result.first + len(result.records)]
                files.contents[rows] = result.records["file_sha256"]
                for name in ("sha256", "width", "height"):
                    files.records[name][rows] = result.records[name]
                files.flags.update({int(rows[index]): " ".join(flags) for index, flags in result.flags.items()})
                files.rejected.update({int(rows[index]): rejected for index, rejected in result.rejected.items()})
                decoded = np.delete(rows, list(result.rejected)) if result.rejected else rows
                spool_place[decoded] = spool.add(result.pixels)
                files.records["near_hash"][decoded] = near_hashes(result.pixels)
                values = result.pixels.astype(np.uint32)
                files.records["total"][decoded] = values.sum(axis=(1, 2, 3))
                files.records["squares"][decoded] = np.einsum("nchw,nchw->n", values, values, dtype=np.uint64)
                done = min(done + len(rows), total)
                on_decoded(done, total)

    decode(open_rows)
    if done and not len(open_rows):
        on_decoded(done, total)
    if kept is not None:
        for path, rows in to_save.items():
            save(path, files.at(rows))
        kept.forget_all_but([kept.of_files(), *map(kept.of_pack, images.stamps)])
    index = known if len(known) == total else DigestIndex(files.records["sha256"])
    return ReadFiles(files, index, spool, old, spool_place, old_place, lost, decode)


def _take_known(images: RawImages, files: Files, kept: Memory, workers: int) -> tuple[Indices, dict[Path, Indices]]:
    """Fill in what is known, first by stamps, then by content.

    Returns the rows that are to be decoded, and by path the rows that are to be remembered there.
    """
    open_parts, to_save = [], {}
    # Rows in the order of their storage, those of each pack together.
    stored = np.lexsort((images.member, images.pack)) if images.packs else np.arange(len(images))
    ends = np.cumsum(np.bincount(images.pack + 1, minlength=1 + len(images.packs)))
    alone, *packed = np.split(stored, ends[:-1])
    for rows, stamp in zip(packed, images.stamps, strict=True):
        path = kept.of_pack(stamp)
        known = None if stamp.is_racy else load(path, with_contents=False)
        if known is None or len(known.records) != len(rows):
            open_parts.append(rows)
            to_save[path] = rows
            continue
        files.take(known, rows, np.arange(len(rows)))
        if known.again and (whole := load(path)) is not None:
            files.contents[rows], files.endings[rows] = whole.contents, whole.endings
            open_parts.append(rows[list(whole.again)])
            to_save[path] = rows
    if len(alone):
        stamps, endings = stamp_files(images, alone), endings_of([images.names[row] for row in alone.tolist()])
        files.stamps[alone], files.endings[alone] = stamps, endings
        known = load(kept.of_files()) or Files.empty(0)
        same = same_stamps(known, stamps, endings)
        files.take(known, alone[same >= 0], same[same >= 0])
        files.contents[alone[same >= 0]] = rows_at(known.contents, same[same >= 0])
        open_parts.append(alone[same < 0])
        if (same < 0).any() or len(known.records) != len(alone):
            to_save[kept.of_files()] = alone
    open_rows = images.in_storage_order(np.concatenate([np.empty(0, dtype=np.int64), *open_parts]))
    files.endings[open_rows] = endings_of([images.names[row] for row in open_rows.tolist()])
    remembered = kept.all()
    if not remembered:
        return np.sort(open_rows), to_save
    # Only read, not looked into: that is safe in this process, and quicker than to start another.
    begins = range(0, len(open_rows), HASHED_AT_ONCE)
    batches = [images.places(open_rows[begin : begin + HASHED_AT_ONCE]) for begin in begins]
    with ThreadPoolExecutor(workers) as threads:
        digests = b"".join(threads.map(hash_places, batches))
    files.contents[open_rows] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    return take_same_content(remembered, files, open_rows), to_save
