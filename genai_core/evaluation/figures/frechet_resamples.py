"""Fréchet distances of resamples: solved exactly where cheap, else linearised."""

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.fd_infinity import Curve, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_influence
from genai_core.evaluation.statistics import FeatureStats, Float64

# Up to this dimension each resample's eigenvalue problem is solved: 200 resamples of 10,000 images take about 10 s at
# 256 features. At 2048 features each would take a second. There, one larger problem with eigenvectors gives the
# first-order term.
SOLVED_DIM = 256


def resampled_curves(
    features: npt.NDArray[np.floating],
    ends: list[int],
    reference: FeatureStats,
    reference_root: Float64,
    weights: Float64,
) -> list[Curve] | None:
    """Return the curve of each resample, weights (R, N), or None above SOLVED_DIM features."""
    if features.shape[1] > SOLVED_DIM:
        return None
    return [frechet_curve(features, ends, reference, reference_root, row) for row in weights]


def resampled_distances(
    features: npt.NDArray[np.floating], reference: FeatureStats, reference_root: Float64, weights: Float64
) -> Float64:
    """Return the distance of each resample of features (N, D), weights (R, N): (R,).

    Above SOLVED_DIM, only relative to their common mean (the infinitesimal jackknife, Efron 1982, chapter 6): one
    eigenvalue problem in total for any R.
    """
    curves = resampled_curves(features, [len(features)], reference, reference_root, weights)
    if curves is not None:
        return np.array([curve.distances[-1] for curve in curves])
    influence = frechet_influence(features, reference, reference_root)
    distances: Float64 = weights @ influence / len(influence)
    return distances
