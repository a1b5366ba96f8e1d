"""Copies: of training images (memorisation), and of each other (mode collapse)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.statistics import Float64

# Of the usual distance: float32 features of the same image in batches of two sizes differ by less.
SAME_SHARE = 1e-4

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class NearCopies:
    """For each of N samples: its nearest other image (index and distance), and whether that is within `threshold`."""

    copied: Flags
    distances: Float64
    index: npt.NDArray[np.int64]
    threshold: float

    def closest(self, pairs: int) -> npt.NDArray[np.int64]:
        """The samples (pairs,) whose nearest image is closest, closest first."""
        return np.argsort(self.distances, kind="stable")[:pairs].astype(np.int64)


def near_copies(
    features: npt.NDArray[np.floating],
    train: npt.NDArray[np.floating],
    held_out_distances: Float64,
    percentile: float,
) -> NearCopies:
    """Samples (N, D) that are nearer to a training image (M, D) than real images usually are.

    held_out_distances: of real images that were held out to their nearest training image. Nearer than `percentile` of
    a hundred of them counts as a near copy; so of images as new as the held-out ones that share counts.
    """
    return _closer_than(features, train, threshold(held_out_distances, percentile))


def near_identical(features: npt.NDArray[np.floating], real_distances: Float64, percentile: float) -> NearCopies:
    """Samples (N, D) that are nearer to another sample than real images usually are to each other.

    real_distances: of each of as many real images to its nearest neighbour among them; nearest neighbours are
    the closer the more images there are. A generator that draws the same few images again and again has them all.
    """
    return _closer_than(features, None, threshold(real_distances, percentile))


def threshold(real_distances: Float64, percentile: float) -> float:
    """The distance up to which an image is a near copy. Never 0, so that rounding hides no exact copy."""
    return max(float(np.percentile(real_distances, percentile)), SAME_SHARE * float(np.median(real_distances)))


def _closer_than(
    features: npt.NDArray[np.floating], points: npt.NDArray[np.floating] | None, limit: float
) -> NearCopies:
    found = nearest(features, points)
    distances = found.distances[:, 0]
    return NearCopies(distances <= limit, distances, found.index[:, 0], limit)
