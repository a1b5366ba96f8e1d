"""The raw files of a dataset, decoded as far as that is needed: the hashes of all, the pixels of those that are new."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from genai_core.config import DataConfig
from genai_core.data.decode import DecodeRule
from genai_core.data.decoder_pool import decode_files
from genai_core.data.facts import Indices, Pixels
from genai_core.data.known_files import (
    Files,
    known_files_path,
    load_known_files,
    same_content,
    same_stamps,
    save_known_files,
    stamp_files,
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

    lost: rows that are known but whose pixels are nowhere; they are decoded once one of them is asked for.
    """

    files: Files
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


def read_files(
    images: RawImages,
    config: DataConfig,
    *,
    spool: Spool,
    old: OldPixels,
    memory: Path | None,
    workers: int,
    on_decoded: OnDecoded,
) -> ReadFiles:
    """Look at every image's stamp, decode those that earlier runs did not see or whose pixels are nowhere.

    memory: the folder in which is kept what was found; None: every file is decoded.
    """
    rule = DecodeRule(config.image_size, config.channels, config.fit, config.background, config.max_megapixels)
    total = len(images)
    on_decoded(0, total)
    files = stamp_files(images)
    remembered = None if memory is None else known_files_path(memory, rule)
    open_rows, lost = np.arange(total), np.empty(0, dtype=np.int64)
    old_place = np.full(total, -1, dtype=np.int64)
    if remembered is not None and len((known := load_known_files(remembered)).records):
        open_rows = _take_known(images, files, known, workers)
        old_place = np.where(files.records["sha256"].any(axis=1), old.find(files.records["sha256"]), -1)
        lost = np.flatnonzero(files.records["sha256"].any(axis=1) & (old_place < 0))
        if len(open_rows):  # else they may not be needed: the likes of left-out near duplicates, and no process starts
            open_rows, lost = np.union1d(open_rows, lost), lost[:0]
    spool_place = np.full(total, -1, dtype=np.int64)
    done = total - len(open_rows)

    def decode(wanted: Indices) -> None:
        nonlocal done
        wanted = images.in_storage_order(wanted)
        # NumPy's matrix products keep a thread spinning on the core that a decoding process needs.
        with threadpool_limits(1, user_api="blas"):
            for result in decode_files(images.places(wanted.tolist()), rule, workers=workers):
                rows = wanted[result.first : result.first + len(result.records)]
                for name in ("file_sha256", "sha256", "width", "height"):
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
    if remembered is not None:
        save_known_files(remembered, files)
    return ReadFiles(files, spool, old, spool_place, old_place, lost, decode)


def _take_known(images: RawImages, files: Files, known: Files, workers: int) -> Indices:
    """Fill in what is known, first by stamps, then by content; returns the rows that are not."""
    same = same_stamps(known, files)
    here = np.flatnonzero(same >= 0)
    files.take(known, here, same[here])
    rows = images.in_storage_order(np.flatnonzero(same < 0))
    # Only read, not looked into: that is safe in this process, and quicker than to start another.
    batches = [images.places(rows[first : first + HASHED_AT_ONCE].tolist()) for first in range(0, len(rows), HASHED_AT_ONCE)]
    with ThreadPoolExecutor(workers) as threads:
        digests = b"".join(threads.map(hash_places, batches))
    files.records["file_sha256"][rows] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    same = same_content(known, files, rows)
    files.take(known, rows[same >= 0], same[same >= 0])
    return rows[same < 0]
