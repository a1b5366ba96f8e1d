"""Images that look the same without being the same: recompressed, rescaled, a little brighter.

Two images are near duplicates when their perceptual hashes differ in at most MAX_BITS bits and their pixels by at most
a stated share of their own contrast. The hash alone would be wrong for small grey images: of 60,000 Fashion-MNIST
images, tens of thousands of pairs that are not the same agree in it. The search is exact, without comparing all with
all: of 4 bands of 16 bits, two hashes that differ in 3 bits agree in one, and means that differ by more than the pixels
may cannot belong to near duplicates.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from genai_core.data.facts import Pixels

MAX_BITS = 3
BANDS = MAX_BITS + 1
FREQUENCIES = 8
# Candidates looked at together: bounds the memory.
CHUNK_PAIRS = 1 << 20
CHUNK_VALUES = 1 << 24

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]
PixelsAt = Callable[[npt.NDArray[np.int64]], Pixels]


def near_hashes(images: Pixels) -> Hashes:
    """The perceptual hash of images (N, C, H, W) uint8 -> (N,) uint64: signs of the 8 x 8 lowest cosine frequencies.

    In whole numbers, so that the result is the same on any machine and in any batch. (After pHash: Zauner 2010, 3.2.1,
    with signs in place of the median, which flip less under recompression.)
    """
    if len(images) == 0:
        return np.empty(0, dtype=np.uint64)
    cosines = _cosines(images.shape[-1])
    # float64 holds these whole numbers exactly (below 2^53), and its products are quick.
    grey = images.sum(axis=1, dtype=np.float64) if images.shape[1] > 1 else images[:, 0].astype(np.float64)
    rows = grey.reshape(-1, grey.shape[-1]) @ cosines.T
    frequencies = cosines @ rows.reshape(len(images), -1, FREQUENCIES)
    bits = frequencies.reshape(len(images), -1) > 0
    bits[:, 0] = False  # the mean
    # Neighbouring frequencies go to different bands, or one band would hold all the bits that hardly differ.
    bits = bits[:, np.arange(64).reshape(16, BANDS).T.ravel()]
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
    """All pairs (i, j), i < j, of near duplicates of which at least one is in `new`, sorted: (P, 2).

    hashes, and means and standard deviations of the pixels: (N,). distance: the root of the mean squared difference
    of the pixels, over the smaller of the two standard deviations; an image of one colour is near to none.
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
    """The same pairs, several parts together: fewer looks at the pixels, and none twice for a pair of two bands."""
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
    """Pairs that agree in a band, whose means and deviations may be those of near duplicates, in chunks."""
    all_new = len(new) == len(hashes)
    for band in range(BANDS):
        bits = (hashes >> np.uint64(16 * band)).astype(np.uint16)
        key = bits.astype(np.float64) * 1024
        place = key + means  # means are below 256: bands do not overlap, whatever the window
        is_asked_for = np.zeros(1 << 16, dtype=np.bool_)
        is_asked_for[bits[new]] = True
        listed = np.flatnonzero(is_asked_for[bits])
        order = listed[np.argsort(place[listed], kind="stable")]
        ordered = place[order]
        window = np.minimum(distance * deviations[new], 255)
        # Where all are new, each is asked only for partners of a larger mean: the other half would be found twice.
        below = place[new] if all_new else place[new] - window
        begin = np.searchsorted(ordered, below, side="left")
        end = np.searchsorted(ordered, place[new] + window, side="right")
        counts = end - begin
        total = np.cumsum(counts)
        first = 0
        while first < len(new):
            last = max(first + 1, int(np.searchsorted(total, (total[first - 1] if first else 0) + CHUNK_PAIRS)))
            count = counts[first:last]
            left = np.repeat(new[first:last], count)
            offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            right = order[np.repeat(begin[first:last], count) + offset]
            close = np.bitwise_count(hashes[left] ^ hashes[right]) <= MAX_BITS
            close &= left != right
            left, right = left[close], right[close]
            # |std(a) - std(b)| is at most the distance of a and b, as the means' is.
            smaller = np.minimum(deviations[left], deviations[right])
            close = np.abs(deviations[left] - deviations[right]) <= distance * smaller
            left, right = left[close], right[close]
            if len(left):
                yield np.sort(np.stack([left, right], axis=1), axis=1)
            first = last


@cache
def _cosines(size: int) -> npt.NDArray[np.float64]:
    place = (2 * np.arange(size) + 1) / (2 * size)
    cosines: npt.NDArray[np.float64] = np.rint(1024 * np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * place))
    return cosines
