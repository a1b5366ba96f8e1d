"""Near duplicates of a dataset that grows: only pairs with a new image are looked for, the others are remembered."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data import near
from genai_core.data.facts import Digests, find_digests, order_of
from genai_core.data.kept_arrays import KEPT_EXTENSION, NotKeptError, forget_kept, read_kept, write_kept
from genai_core.data.near import Pairs, PixelsAt, near_pairs


def find_near_duplicates(
    digests: Digests,
    hashes: npt.NDArray[np.uint64],
    means: npt.NDArray[np.float64],
    deviations: npt.NDArray[np.float64],
    pixels_at: PixelsAt,
    *,
    distance: float,
    memory: Path | None,
) -> Pairs:
    """All pairs (i, j), i < j, of near duplicates among N images, sorted: (P, 2).

    memory: the folder in which pairs are kept from run to run; None: all are looked for. The result is the same.
    """
    path = None if memory is None else memory / f"near-{_code()}{KEPT_EXTENSION}"
    seen, old_pairs = _load(path, distance) if path else (digests[:0], np.empty((0, 2, 32), dtype=np.uint8))
    new = np.flatnonzero(find_digests(digests, seen) < 0)
    pairs = near_pairs(hashes, means, deviations, pixels_at, distance=distance, new=new)
    sides = np.stack([find_digests(old_pairs[:, side], digests) for side in (0, 1)], axis=1)
    sides = np.sort(sides[(sides >= 0).all(axis=1)], axis=1)
    pairs = np.unique(np.concatenate([pairs, sides]), axis=0)
    if path is not None and (len(new) or len(seen) != len(digests)):
        _save(path, distance, digests, digests[pairs])
    return pairs


def near_flags(pairs: Pairs, digests: Digests) -> dict[int, str]:
    """By index, the word for each image of `pairs`: it names the partner of the smallest hash."""
    place = np.empty(len(digests), dtype=np.int64)
    place[order_of(digests)] = np.arange(len(digests))
    partner: dict[int, int] = {}
    for one, other in [*pairs.tolist(), *pairs[:, ::-1].tolist()]:
        if one not in partner or place[other] < place[partner[one]]:
            partner[one] = other
    return {one: f"near_duplicate:{digests[other].tobytes().hex()[:16]}" for one, other in partner.items()}


def _code() -> str:
    return hashlib.sha256(Path(near.__file__).read_bytes()).hexdigest()[:16]


def _load(path: Path, distance: float) -> tuple[Digests, Digests]:
    try:
        arrays, kept_distance = read_kept(path, {"digests": np.uint8, "pairs": np.uint8})
        if kept_distance == distance:
            return arrays["digests"], arrays["pairs"]
    except NotKeptError:
        pass
    return np.empty((0, 32), dtype=np.uint8), np.empty((0, 2, 32), dtype=np.uint8)


def _save(path: Path, distance: float, digests: Digests, pairs: Digests) -> None:
    write_kept(path, {"digests": digests, "pairs": pairs}, distance)
    forget_kept(path.parent, "near-", [path])
