"""Fréchet distance extrapolated to infinitely many images, which removes the bias of small sets.

Chong and Forsyth 2020, arXiv 1911.07023: the distance of N images is the distance of infinitely many plus, to a good
approximation, a constant over N.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.frechet import frechet_distances
from genai_core.evaluation.statistics import FeatureStats, Float64


@dataclass(frozen=True)
class Curve:
    """Fréchet distances (P,) of the first counts (P,) images."""

    counts: Float64
    distances: Float64

    def at_infinity(self) -> float:
        """Intercept of the line through the distances over 1/count. May be slightly negative.

        Raises ValueError when there are fewer than two different counts.
        """
        if len(np.unique(self.counts)) < 2:
            raise ValueError(f"a line needs at least two different counts of images, got {self.counts.tolist()}")
        return float(np.polyfit(1 / self.counts, self.distances, deg=1)[1])


def curve_ends(total: int, points: int) -> list[int]:
    """Return `points` counts of images from a tenth of all to all, in equal steps; fewer for small sets."""
    first = min(total, max(2, total // 10))
    return sorted({int(count) for count in np.linspace(first, total, points).round()})


def frechet_curve(
    features: npt.NDArray[np.floating],
    ends: list[int],
    reference: FeatureStats,
    reference_root: Float64,
    weights: Float64 | None = None,
) -> Curve:
    """Distances of the first ends[0], ends[1], ... of features (N, D), in increasing order.

    The images must be in random order, so that each prefix is a sample of the whole. weights: (N,), how often each
    image counts (a resample); None: once. One pass for any number of ends.
    """
    centre = features.mean(axis=0, dtype=np.float64)
    rows = features.astype(np.float64) - centre
    times = np.ones(len(rows)) if weights is None else weights
    count, dim = 0.0, rows.shape[1]
    total, products = np.zeros(dim), np.zeros((dim, dim))
    counts, means, covariances = [], [], []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        part, weight = rows[begin:end], times[begin:end]
        weighted = part * weight[:, None]
        count += weight.sum()
        total = total + weighted.sum(axis=0)
        products = products + part.T @ weighted
        if count < 2:
            continue  # a resample may contain almost none of a short prefix
        counts.append(count)
        mean = total / count
        means.append(mean + centre)
        covariances.append((products - count * np.outer(mean, mean)) / (count - 1))
    distances = frechet_distances(reference, reference_root, np.stack(means), np.stack(covariances))
    return Curve(np.array(counts), distances)
