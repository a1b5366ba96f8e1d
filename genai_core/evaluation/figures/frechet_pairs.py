"""Frechet distances of two sets of images to one set of real ones, in the same resamples: what both share cancels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.frechet import frechet_distances, frechet_influence
from genai_core.evaluation.figures.frechet_resamples import SOLVED_DIM
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root, weighted_stats


@dataclass(frozen=True)
class PairedDistances:
    """The distances of both sets in each resample (R,); above SOLVED_DIM features about their common mean only."""

    first: Float64
    second: Float64


def paired_distances(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    real: npt.NDArray[np.floating],
    weights: Float64,
    real_weights: Float64,
) -> PairedDistances:
    """Of first and second (N, D) to real (M, D), how often each counts in weights (R, N) and real_weights (R, M).

    Image i of both sets comes from the same seed, and resample r takes the same seeds and the same real images for
    both: in the difference of row r what they share is gone. Up to SOLVED_DIM features each resample is solved, above
    it is linearised in the measured and in the real images. Raises ValueError when the sets do not fit.
    """
    if first.shape != second.shape or first.shape[1] != real.shape[1]:
        raise ValueError(
            f"expected as many images of both sets, in features of one dimension, got {first.shape}, {second.shape} "
            f"and real ones {real.shape}"
        )
    if first.shape[1] > SOLVED_DIM:
        found = [_linearised(features, real, weights, real_weights) for features in (first, second)]
        return PairedDistances(*found)
    distances = np.array(
        [_solved((first, second), real, own, of_real) for own, of_real in zip(weights, real_weights, strict=True)]
    )
    return PairedDistances(distances[:, 0], distances[:, 1])


def _solved(
    sets: tuple[npt.NDArray[np.floating], ...], real: npt.NDArray[np.floating], own: Float64, of_real: Float64
) -> Float64:
    reference = weighted_stats(real, of_real)
    fitted = [weighted_stats(features, own) for features in sets]
    means, covariances = np.stack([s.mean for s in fitted]), np.stack([s.covariance for s in fitted])
    return frechet_distances(reference, square_root(reference.covariance), means, covariances)


def _linearised(
    features: npt.NDArray[np.floating], real: npt.NDArray[np.floating], own: Float64, of_real: Float64
) -> Float64:
    """The distance is the same read from either side, so that the real images' influence is that of the other set's."""
    distances: Float64 = own @ _influence(features, feature_stats(real)) / len(features) + of_real @ _influence(
        real, feature_stats(features)
    ) / len(real)
    return distances


def _influence(features: npt.NDArray[np.floating], reference: FeatureStats) -> Float64:
    return frechet_influence(features, reference, square_root(reference.covariance))
