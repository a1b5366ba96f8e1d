"""Frechet distances of resamples: each solved where that is cheap, else linearised."""

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.fd_infinity import Curve, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_influence
from genai_core.evaluation.statistics import FeatureStats, Float64

# Up to this dimension each resample's eigenvalue problem is solved: 200 resamples of 10,000 images take about 10 s at
# 256 features. At 2048 each would take a second; one larger problem, with vectors, gives the first-order term instead.
SOLVED_DIM = 256


def resampled_curves(
    features: npt.NDArray[np.floating],
    ends: list[int],
    reference: FeatureStats,
    reference_root: Float64,
    weights: Float64,
) -> list[Curve] | None:
    """The curve of each resample, weights (R, N), or None above SOLVED_DIM features."""
    if features.shape[1] > SOLVED_DIM:
        return None
    return [frechet_curve(features, ends, reference, reference_root, row) for row in weights]


def resampled_distances(
    features: npt.NDArray[np.floating], reference: FeatureStats, reference_root: Float64, weights: Float64
) -> Float64:
    """The distance of each resample of features (N, D), weights (R, N): (R,).

    Above SOLVED_DIM about their common mean only (the infinitesimal jackknife, Efron 1982, chapter 6): one
    eigenvalue problem in all, whatever R.
    """
    curves = resampled_curves(features, [len(features)], reference, reference_root, weights)
    if curves is not None:
        return np.array([curve.distances[-1] for curve in curves])
    influence = frechet_influence(features, reference, reference_root)
    distances: Float64 = weights @ influence / len(influence)
    return distances
