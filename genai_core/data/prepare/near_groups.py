"""Near duplicates in a growing dataset: only pairs with a new image are searched, the others are cached."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.cache_file import CACHE_EXTENSION, CacheMissError, delete_caches, read_cache, write_cache
from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.dataset.facts import Digests, take_rows
from genai_core.data.prepare import near
from genai_core.data.prepare.near import Pairs, PixelsAt, near_pairs


class NearCache:
    """Results of earlier runs. seen: hashes of all images searched together; pairs: (P, 2, 32).

    folder: where the cache is stored; None: no cache. A context manager: `save` writes in the background, and the file
    is complete on exit.
    """

    def __init__(self, folder: Path | None, distance: float | None) -> None:
        code = hashlib.sha256(Path(near.__file__).read_bytes()).hexdigest()[:16]
        self._path = None if folder is None else folder / f"near-{code}{CACHE_EXTENSION}"
        self._distance = distance
        seen, self.pairs = self._load()
        self.seen = DigestIndex(seen, np.arange(len(seen)))
        self.is_seen = np.empty(0, dtype=np.bool_)
        self._executor = ThreadPoolExecutor(1)
        self._saved: Future[None] | None = None

    def look_up(self, known: DigestIndex) -> None:
        """Set is_seen (N,), which of N images were seen, for the hashes known so far."""
        self.is_seen = self.seen.find(known) >= 0

    def save(self, index: DigestIndex, pairs: Pairs) -> None:
        """Save that all images of the index were searched together, with their pairs (P, 2)."""
        if self._path is not None:
            self._saved = self._executor.submit(self._save, self._path, index, pairs)

    def __enter__(self) -> "NearCache":
        return self

    def __exit__(self, *_error: object) -> None:
        self._executor.shutdown()
        if self._saved is not None:
            self._saved.result()

    def _save(self, path: Path, index: DigestIndex, pairs: Pairs) -> None:
        arrays = {"in_order": take_rows(index.digests, index.order), "pairs": index.digests[pairs]}
        write_cache(path, arrays, self._distance)
        delete_caches(path.parent, "near-", [path])

    def _load(self) -> tuple[Digests, Digests]:
        if self._path is not None and self._distance is not None:
            with suppress(CacheMissError):
                arrays, distance = read_cache(self._path, {"in_order": np.uint8, "pairs": np.uint8})
                if distance == self._distance:
                    return arrays["in_order"], arrays["pairs"]
        return np.empty((0, 32), dtype=np.uint8), np.empty((0, 2, 32), dtype=np.uint8)


def find_near_duplicates(
    index: DigestIndex,
    hashes: npt.NDArray[np.uint64],
    means: npt.NDArray[np.float64],
    deviations: npt.NDArray[np.float64],
    pixels_at: PixelsAt,
    *,
    distance: float,
    cached: NearCache,
    is_seen: npt.NDArray[np.bool_] | None = None,
) -> Pairs:
    """Return all pairs (i, j), i < j, of near duplicates among N images, sorted: (P, 2). index: of their hashes.

    is_seen: (N,) images that the cache is known to hold; saves a second lookup and does not change the result.
    """
    maybe_new = np.arange(len(index)) if is_seen is None else np.flatnonzero(~is_seen)
    found = cached.seen.find(index if is_seen is None else DigestIndex(take_rows(index.digests, maybe_new)))
    new = maybe_new[found < 0]
    pairs = near_pairs(hashes, means, deviations, pixels_at, distance=distance, new=new)
    cached_pairs = np.stack([index.find(DigestIndex(cached.pairs[:, column])) for column in (0, 1)], axis=1)
    cached_pairs = np.sort(cached_pairs[(cached_pairs >= 0).all(axis=1)], axis=1)
    pairs = np.unique(np.concatenate([pairs, cached_pairs]), axis=0)
    # Cached pairs stay valid when images are removed and come back. Without new images, rewrite the cache only if it
    # holds more than twice the current images.
    if len(new) or len(cached.seen) > 2 * len(index):
        cached.save(index, pairs)
    return pairs


def near_flags(pairs: Pairs, index: DigestIndex) -> dict[int, str]:
    """Return the flag for each image in `pairs`, by index: it names the partner with the smallest hash."""
    rank = np.empty(len(index), dtype=np.int64)
    rank[index.order] = np.arange(len(index))
    partner: dict[int, int] = {}
    for one, other in [*pairs.tolist(), *pairs[:, ::-1].tolist()]:
        if one not in partner or rank[other] < rank[partner[one]]:
            partner[one] = other
    return {one: f"near_duplicate:{index.digests[other].tobytes().hex()[:16]}" for one, other in partner.items()}
