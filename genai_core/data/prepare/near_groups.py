"""Near duplicates of a dataset that grows: only pairs with a new image are looked for, the others are remembered."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.cache.kept_arrays import KEPT_EXTENSION, NotKeptError, forget_kept, read_kept, write_kept
from genai_core.data.dataset.facts import Digests, rows_at
from genai_core.data.prepare import near
from genai_core.data.prepare.near import Pairs, PixelsAt, near_pairs


class NearMemory:
    """What earlier runs found. seen: the hashes of all images that were searched together; pairs: (P, 2, 32).

    folder: in which it is kept from run to run; None: nothing is known, and nothing kept. A context: what is saved is
    written beside what the caller does, until its end.
    """

    def __init__(self, folder: Path | None, distance: float | None) -> None:
        code = hashlib.sha256(Path(near.__file__).read_bytes()).hexdigest()[:16]
        self._path = None if folder is None else folder / f"near-{code}{KEPT_EXTENSION}"
        self._distance = distance
        seen, self.pairs = self._load()
        self.seen = DigestIndex(seen, np.arange(len(seen)))
        self.is_seen = np.empty(0, dtype=np.bool_)
        self._beside = ThreadPoolExecutor(1)
        self._saved: Future[None] | None = None

    def look_up(self, known: DigestIndex) -> None:
        """Find out beforehand which of N images were seen, is_seen (N,), as far as their hashes are known."""
        self.is_seen = self.seen.find(known) >= 0

    def save(self, index: DigestIndex, pairs: Pairs) -> None:
        """Keep that all images of the index were searched together, and the pairs (P, 2) of them."""
        if self._path is not None:
            self._saved = self._beside.submit(self._save, self._path, index, pairs)

    def __enter__(self) -> "NearMemory":
        return self

    def __exit__(self, *_error: object) -> None:
        self._beside.shutdown()
        if self._saved is not None:
            self._saved.result()

    def _save(self, path: Path, index: DigestIndex, pairs: Pairs) -> None:
        arrays = {"in_order": rows_at(index.digests, index.order), "pairs": index.digests[pairs]}
        write_kept(path, arrays, self._distance)
        forget_kept(path.parent, "near-", [path])

    def _load(self) -> tuple[Digests, Digests]:
        if self._path is not None and self._distance is not None:
            with suppress(NotKeptError):
                arrays, distance = read_kept(self._path, {"in_order": np.uint8, "pairs": np.uint8})
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
    memory: NearMemory,
    is_seen: npt.NDArray[np.bool_] | None = None,
) -> Pairs:
    """All pairs (i, j), i < j, of near duplicates among N images, sorted: (P, 2). index: of their hashes.

    is_seen: (N,) those that the memory is known to have, where some were looked up already; it changes nothing.
    """
    maybe_new = np.arange(len(index)) if is_seen is None else np.flatnonzero(~is_seen)
    found = memory.seen.find(index if is_seen is None else DigestIndex(rows_at(index.digests, maybe_new)))
    new = maybe_new[found < 0]
    pairs = near_pairs(hashes, means, deviations, pixels_at, distance=distance, new=new)
    sides = np.stack([index.find(DigestIndex(memory.pairs[:, side])) for side in (0, 1)], axis=1)
    sides = np.sort(sides[(sides >= 0).all(axis=1)], axis=1)
    pairs = np.unique(np.concatenate([pairs, sides]), axis=0)
    # Whatever was seen together has its pairs there, were half of it gone: nothing is wrong when it comes back.
    if len(new) or len(memory.seen) > 2 * len(index):
        memory.save(index, pairs)
    return pairs


def near_flags(pairs: Pairs, index: DigestIndex) -> dict[int, str]:
    """By index, the word for each image of `pairs`: it names the partner of the smallest hash."""
    place = np.empty(len(index), dtype=np.int64)
    place[index.order] = np.arange(len(index))
    partner: dict[int, int] = {}
    for one, other in [*pairs.tolist(), *pairs[:, ::-1].tolist()]:
        if one not in partner or place[other] < place[partner[one]]:
            partner[one] = other
    return {one: f"near_duplicate:{index.digests[other].tobytes().hex()[:16]}" for one, other in partner.items()}
