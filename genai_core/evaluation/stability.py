"""Distances between batches of one model, compared with batches of real images.

Batches of a stable model differ only by chance, regardless of their seeds and when they are generated.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import Float64, feature_stats, square_root

BATCHES = 4


@dataclass(frozen=True)
class Stability:
    """Fréchet distances between pairs of batches of `images` each, (P,); real None: too few real images."""

    images: int
    generated: Float64
    real: Float64 | None


def measure_stability(
    features: npt.NDArray[np.floating], real: npt.NDArray[np.floating], seed: int
) -> Stability | None:
    """Measure BATCHES consecutive batches of features (N, D), each with its own seeds, and of real (M, D).

    The real batches are random and of the same size; there may be fewer of them. Returns None for fewer than two images
    per batch. With few images, all these distances are large and similar: compare them only with each other.
    """
    images = len(features) // BATCHES
    if images < 2:
        return None
    return Stability(
        images,
        _pairs(features, images),
        _pairs(real[np.random.default_rng(seed).permutation(len(real))], images) if len(real) >= 2 * images else None,
    )


def _pairs(features: npt.NDArray[np.floating], images: int) -> Float64:
    count = min(BATCHES, len(features) // images)
    fitted = [feature_stats(features[place * images : (place + 1) * images]) for place in range(count)]
    roots = [square_root(stats.covariance) for stats in fitted[:-1]]
    return np.array([frechet_distance(fitted[i], roots[i], fitted[j]) for i, j in combinations(range(count), 2)])
