"""Near duplicates of a dataset that grows: only pairs with a new image are looked for, the others are remembered."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data import near
from genai_core.data.digest_index import DigestIndex
from genai_core.data.facts import Digests, rows_at
from genai_core.data.kept_arrays import KEPT_EXTENSION, NotKeptError, forget_kept, read_kept, write_kept
from genai_core.data.near import Pairs, PixelsAt, near_pairs

_NOTHING = (np.empty((0, 32), dtype=np.uint8), np.empty((0, 2, 32), dtype=np.uint8))


def find_near_duplicates(
    index: DigestIndex,
    hashes: npt.NDArray[np.uint64],
    means: npt.NDArray[np.float64],
    deviations: npt.NDArray[np.float64],
    pixels_at: PixelsAt,
    *,
    distance: float,
    memory: Path | None,
) -> Pairs:
    """All pairs (i, j), i < j, of near duplicates among N images, sorted: (P, 2). index: of their hashes.

    memory: the folder in which pairs are kept from run to run; None: all are looked for. The result is the same.
    """
    path = None if memory is None else memory / f"near-{_code()}{KEPT_EXTENSION}"
    seen, old_pairs = _load(path, distance) if path else _NOTHING
    new = np.flatnonzero(DigestIndex(seen, np.arange(len(seen))).find(index) < 0)
    pairs = near_pairs(hashes, means, deviations, pixels_at, distance=distance, new=new)
    sides = np.stack([index.find(DigestIndex(old_pairs[:, side])) for side in (0, 1)], axis=1)
    sides = np.sort(sides[(sides >= 0).all(axis=1)], axis=1)
    pairs = np.unique(np.concatenate([pairs, sides]), axis=0)
    # Whatever was seen together has its pairs there, were half of it gone: nothing is wrong when it comes back.
    if path is not None and (len(new) or len(seen) > 2 * len(index)):
        _save(path, distance, rows_at(index.digests, index.order), index.digests[pairs])
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


def _code() -> str:
    return hashlib.sha256(Path(near.__file__).read_bytes()).hexdigest()[:16]


def _load(path: Path, distance: float) -> tuple[Digests, Digests]:
    try:
        arrays, kept_distance = read_kept(path, {"in_order": np.uint8, "pairs": np.uint8})
        if kept_distance == distance:
            return arrays["in_order"], arrays["pairs"]
    except NotKeptError:
        pass
    return _NOTHING


def _save(path: Path, distance: float, in_order: Digests, pairs: Digests) -> None:
    write_kept(path, {"in_order": in_order, "pairs": pairs}, distance)
    forget_kept(path.parent, "near-", [path])
