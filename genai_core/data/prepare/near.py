"""Find images that look the same without being equal: recompressed, rescaled, slightly brighter.

Two images are near duplicates when their perceptual hashes differ in at most MAX_BITS bits and their pixels by at most
a given share of their own contrast. The hash alone is wrong for small grey images: among 60,000 Fashion-MNIST images,
tens of thousands of pairs of different images share it. The search is exact without comparing all pairs. Two hashes
that differ in 3 bits agree in one of 4 bands of 16 bits, and in two of 5 bands. Images whose means differ by more than
the pixels may cannot be near duplicates.
"""

from collections.abc import Callable, Iterator
from functools import cache, reduce
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.facts import Pixels

MAX_BITS = 3
# With many new images, the number of candidates grows quadratically. Two bands of 13 bits together leave a fifth of the
# candidates of one band of 16, but take ten searches instead of four. That does not pay off if the dataset has more
# than FEW_NEW times as many images as are new.
BANDS = MAX_BITS + 2
FEW_BANDS = MAX_BITS + 1
FEW_NEW = 8
# Precision of the mean when key and mean are joined into one number (`_sorted_by_key_and_mean`).
ROUNDING = 1e-3
FREQUENCIES = 8
# Candidates compared at once: as many as fit the CPU cache; for those that remain, as many as fit in memory.
PAIRS_AT_ONCE = 1 << 16
CHUNK_PAIRS = 1 << 20
CHUNK_VALUES = 1 << 24

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]
PixelsAt = Callable[[npt.NDArray[np.int64]], Pixels]


def near_hashes(images: Pixels) -> Hashes:
    """Compute the perceptual hash of images (N, C, H, W) uint8 -> (N,) uint64.

    The hash holds the signs of the 8 x 8 lowest cosine frequencies. Integer arithmetic makes it the same on any machine
    and in any batch. After pHash (Zauner 2010, 3.2.1), with signs instead of the median: they flip less under
    recompression.
    """
    if len(images) == 0:
        return np.empty(0, dtype=np.uint64)
    vertical, horizontal = (_cosines(side) for side in images.shape[2:])
    # float64 represents these integers exactly (below 2^53), and its products are fast.
    grey = images.sum(axis=1, dtype=np.float64) if images.shape[1] > 1 else images[:, 0].astype(np.float64)
    rows = grey.reshape(-1, grey.shape[-1]) @ horizontal.T
    frequencies = vertical @ rows.reshape(len(images), -1, FREQUENCIES)
    bits = frequencies.reshape(len(images), -1) > 0
    bits[:, 0] = False  # the mean
    # Spread neighbouring frequencies over the bands; otherwise one band would hold all bits that hardly differ.
    bits = bits[:, np.arange(64).reshape(16, FEW_BANDS).T.ravel()]
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view("<u8").ravel().astype(np.uint64)


def near_pairs(
    hashes: Hashes,
    means: npt.NDArray[np.float64],
    deviations: npt.NDArray[np.float64],
    pixels_at: PixelsAt,
    *,
    distance: float,
    new: npt.NDArray[np.int64],
) -> Pairs:
    """Return all pairs (i, j), i < j, of near duplicates with at least one image in `new`, sorted: (P, 2).

    hashes, means and deviations (standard deviations) of the pixels: (N,). distance: maximum root mean squared
    difference of the pixels, divided by the smaller standard deviation. An image of one colour is never a near
    duplicate.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    if len(new) == 0:
        return found[0]
    size = pixels_at(np.empty(0, dtype=np.int64)).shape[1:]
    step = max(1, CHUNK_VALUES // int(np.prod(size)))
    for pairs in _gathered(_candidates(hashes, means, deviations, distance, new)):
        limit = distance * np.minimum(deviations[pairs[:, 0]], deviations[pairs[:, 1]])
        pairs = pairs[limit > 0]
        limit = limit[limit > 0]
        for begin in range(0, len(pairs), step):
            part = pairs[begin : begin + step]
            images, at = np.unique(part, return_inverse=True)
            pixels = pixels_at(images).astype(np.int16)
            at = at.reshape(part.shape)
            squares = np.square((pixels[at[:, 0]] - pixels[at[:, 1]]).astype(np.float32)).reshape(len(part), -1)
            found.append(part[np.sqrt(squares.mean(axis=1, dtype=np.float64)) <= limit[begin : begin + step]])
    return np.unique(np.concatenate(found), axis=0)


def _gathered(parts: Iterator[Pairs]) -> Iterator[Pairs]:
    """Merge small parts: fewer pixel reads, and no pair found in two bands is compared twice."""
    waiting: list[Pairs] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= CHUNK_PAIRS:
            yield np.unique(np.concatenate(waiting), axis=0)
            waiting = []
    if waiting:
        yield np.unique(np.concatenate(waiting), axis=0)


def _candidates(
    hashes: Hashes,
    means: npt.NDArray[np.float64],
    deviations: npt.NDArray[np.float64],
    distance: float,
    new: npt.NDArray[np.int64],
) -> Iterator[Pairs]:
    """Yield, in chunks, pairs with a common key whose means and deviations allow near duplicates."""
    all_new = len(new) == len(hashes)
    few_new = FEW_NEW * len(new) < len(hashes)
    for key in _keys(hashes, FEW_BANDS if few_new else BANDS):
        listed = _with_keys(key, key[new]) if few_new else np.arange(len(hashes))
        # Sorted, so that each lookup reads adjacent memory.
        order, ordered = _sorted_by_key_and_mean(key, means, listed)
        asked, asked_keys = (order, ordered) if all_new else _sorted_by_key_and_mean(key, means, new)
        ordered_hashes, asked_hashes = hashes[order], hashes[asked]
        window = np.minimum(distance * deviations[asked], 255) + ROUNDING
        # If all are new, compare each only with those after it; otherwise every pair would be found twice.
        begin = np.arange(1, len(order) + 1) if all_new else np.searchsorted(ordered, asked_keys - window, side="left")
        end = np.searchsorted(ordered, asked_keys + window, side="right")
        counts = end - begin
        total = np.cumsum(counts)
        first = 0
        while first < len(asked):
            last = max(first + 1, int(np.searchsorted(total, (total[first - 1] if first else 0) + PAIRS_AT_ONCE)))
            count = counts[first:last]
            left = np.repeat(np.arange(first, last), count)
            right = np.arange(count.sum()) + np.repeat(begin[first:last] - np.cumsum(count) + count, count)
            close = np.bitwise_count(asked_hashes[left] ^ ordered_hashes[right]) <= MAX_BITS
            left, right = asked[left[close]], order[right[close]]
            # |std(a) - std(b)| is at most the distance of a and b, as for the means.
            smaller = np.minimum(deviations[left], deviations[right])
            close = (left != right) & (np.abs(deviations[left] - deviations[right]) <= distance * smaller)
            left, right = left[close], right[close]
            if len(left):
                yield np.sort(np.stack([left, right], axis=1), axis=1)
            first = last


def _keys(hashes: Hashes, bands: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield keys (N,) below 2^26; two hashes that differ in at most MAX_BITS bits share at least one of them.

    The 64 bits are cut into `bands`. A key joins bands - MAX_BITS of them: of so many, one choice has no differing bit.
    """
    ends = [64 * band // bands for band in range(bands + 1)]
    held = [
        ((hashes >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1)).astype(np.int64)
        for begin, end in pairwise(ends)
    ]
    for chosen in combinations(held, bands - MAX_BITS):
        yield reduce(lambda key, band: key << 13 | band, chosen)


def _sorted_by_key_and_mean(
    key: npt.NDArray[np.int64], means: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sort rows by key and mean, joined into one number; return rows and numbers."""
    numbers = key[rows] * 1024.0 + means[rows]  # means are below 256, so keys do not overlap within any window
    order = np.argsort(numbers)
    return rows[order], numbers[order]


def _with_keys(key: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the indices of those with one of the `wanted` keys, below 2^16."""
    is_wanted = np.zeros(1 << 16, dtype=np.bool_)
    is_wanted[wanted] = True
    return np.flatnonzero(is_wanted[key])


@cache
def _cosines(side: int) -> npt.NDArray[np.float64]:
    positions = (2 * np.arange(side) + 1) / (2 * side)
    cosines: npt.NDArray[np.float64] = np.rint(1024 * np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * positions))
    return cosines
