"""Near copies: of training images (memorisation), and of each other (mode collapse)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.neighbours import Points, nearest
from genai_core.evaluation.statistics import Float64

# Share of the usual distance: float32 features of one image differ by less when the batch size changes.
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
        """Return the samples (pairs,) with the closest nearest images, closest first."""
        return np.argsort(self.distances, kind="stable")[:pairs].astype(np.int64)


def within(features: Points, points: Points | None, limit: float) -> NearCopies:
    """Find samples (N, D) within `limit` of a point (M, D); points None: of another sample.

    To find copies of training images, pass these as points and the threshold of held-out images' distances to them. To
    find near-identical samples, use the threshold of real images' distances to each other. Nearest neighbours are
    closer the more images there are, so take that threshold from as many images.
    """
    found = nearest(features, points)
    distances = found.distances[:, 0]
    return NearCopies(distances <= limit, distances, found.index[:, 0], limit)


def threshold(real_distances: Float64, percentile: float) -> float:
    """Return the distance below which an image is a near copy: `percentile` percent of real images (N,) are closer.

    Never 0, so that rounding hides no exact copy.
    """
    return max(float(np.percentile(real_distances, percentile)), SAME_SHARE * float(np.median(real_distances)))
