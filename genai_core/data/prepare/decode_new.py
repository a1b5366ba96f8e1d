"""Decode raw images on demand: pixels go to the spool, facts to the file records."""

from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from genai_core.data.cache.file_records import FileRecords
from genai_core.data.dataset.facts import Indices
from genai_core.data.decoding.image import DecodeRule
from genai_core.data.decoding.pool import Worker, decode_files
from genai_core.data.prepare.near import near_hashes
from genai_core.data.prepare.pixel_store import Spool
from genai_core.data.raw.images import RawImages

# Called with the number of images done and the total.
OnDecoded = Callable[[int, int], None]


class Decoding:
    """Decoder that fills in `files`, the records of N images.

    spool_index: (N,) index of each image's pixels in the spool, or -1. started: decoding processes that already run.
    """

    def __init__(
        self,
        images: RawImages,
        files: FileRecords,
        spool: Spool,
        rule: DecodeRule,
        *,
        workers: int,
        started: Sequence[Worker],
        on_decoded: OnDecoded,
    ) -> None:
        self._images, self._files, self._spool, self._rule = images, files, spool, rule
        self._workers, self._started, self._on_decoded = workers, started, on_decoded
        self.spool_index = np.full(len(images), -1, dtype=np.int64)

    def decode(self, rows: Indices, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Decode these images. meanwhile: called while the processes work."""
        if len(rows) == 0:
            meanwhile()
            return
        files, total = self._files, len(self._images)
        done = total - len(rows)
        rows = self._images.in_storage_order(rows)
        started, self._started = self._started, ()  # decode_files ends them
        # BLAS threads keep spinning after a matrix product, on cores that decoding processes need.
        with threadpool_limits(1, user_api="blas"):
            results = decode_files(
                self._images.locations(rows), self._rule, workers=self._workers, started=started, meanwhile=meanwhile
            )
            for result in results:
                batch = rows[result.first : result.first + len(result.records)]
                files.file_sha256[batch] = result.records["file_sha256"]
                for name in ("sha256", "width", "height"):
                    files.records[name][batch] = result.records[name]
                files.flags.update({int(batch[index]): " ".join(flags) for index, flags in result.flags.items()})
                files.rejected.update({int(batch[index]): rejected for index, rejected in result.rejected.items()})
                decoded = np.delete(batch, list(result.rejected)) if result.rejected else batch
                self.spool_index[decoded] = self._spool.add(result.pixels)
                files.records["near_hash"][decoded] = near_hashes(result.pixels)
                values = result.pixels.astype(np.uint32)
                files.records["total"][decoded] = values.sum(axis=(1, 2, 3))
                files.records["squares"][decoded] = np.einsum("nchw,nchw->n", values, values, dtype=np.uint64)
                done += len(batch)
                self._on_decoded(done, total)
