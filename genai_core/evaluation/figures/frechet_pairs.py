"""Fréchet distances of two sets of images to one set of real images in the same resamples: common noise cancels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.frechet import frechet_influence
from genai_core.evaluation.figures.frechet_resamples import SOLVED_DIM
from genai_core.evaluation.figures.neighbours import chunks
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root


@dataclass(frozen=True)
class PairedDistances:
    """Distances of both sets in each resample (R,); above SOLVED_DIM features, only relative to their mean."""

    first: Float64
    second: Float64


def paired_distances(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    real: npt.NDArray[np.floating],
    weights: Float64,
    real_weights: Float64,
) -> PairedDistances:
    """Distances of first and second (N, D) to real (M, D); weights (R, N) and real_weights (R, M) count the images.

    Image i of both sets comes from the same seed, and resample r uses the same seeds and the same real images for both.
    What they share cancels in the difference of row r. Up to SOLVED_DIM features each resample is solved exactly;
    above, the distance is linearised in the measured and in the real images. Raises ValueError when the sets do not
    fit.
    """
    if first.shape != second.shape or first.shape[1] != real.shape[1]:
        raise ValueError(
            f"expected as many images in both sets and features of one dimension, got {first.shape}, {second.shape} "
            f"and real images {real.shape}"
        )
    if first.shape[1] > SOLVED_DIM:
        found = [_linearised(features, real, weights, real_weights) for features in (first, second)]
        return PairedDistances(*found)
    reference = resampled_stats(real, real_weights)
    roots = _square_roots(reference.covariances)
    found = [_distances(reference, roots, resampled_stats(features, weights)) for features in (first, second)]
    return PairedDistances(*found)


@dataclass(frozen=True)
class ResampledStats:
    """Gaussians fitted to each resample: means (R, D), covariances (R, D, D)."""

    means: Float64
    covariances: Float64


def resampled_stats(features: npt.NDArray[np.floating], weights: Float64) -> ResampledStats:
    """Fit a Gaussian to each resample of features (N, D), weights (R, N); covariances are unbiased.

    The products of each image's features are computed once; resamples are matrix products of the weights with them.
    That is an order of magnitude faster than R covariances. Raises ValueError for resamples of fewer than two images.
    """
    totals = weights.sum(axis=1)
    if totals.min() < 2:
        raise ValueError(f"expected at least two images per resample, got {totals.min():g}")
    dim = features.shape[1]
    centre = features.mean(axis=0, dtype=np.float64)  # so that subtracting the means costs no precision
    rows, columns = np.triu_indices(dim)
    means, products = np.zeros((len(weights), dim)), np.zeros((len(weights), len(rows)))
    for chunk in chunks(len(features), row_values=len(rows)):
        part = features[chunk].astype(np.float64) - centre
        means += weights[:, chunk] @ part
        products += weights[:, chunk] @ (part[:, rows] * part[:, columns])
    means /= totals[:, None]
    covariances = np.empty((len(weights), dim, dim))
    covariances[:, rows, columns] = products
    covariances[:, columns, rows] = products
    covariances -= totals[:, None, None] * means[:, :, None] * means[:, None, :]
    covariances /= totals[:, None, None] - 1
    return ResampledStats(means + centre, covariances)


def _square_roots(covariances: Float64) -> Float64:
    values, vectors = np.linalg.eigh(covariances)
    roots: Float64 = (vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]) @ vectors.swapaxes(1, 2)
    return roots


def _distances(reference: ResampledStats, roots: Float64, other: ResampledStats) -> Float64:
    """Fréchet distances, each resample to its own reference: (R,)."""
    eigenvalues = np.linalg.eigvalsh(roots @ other.covariances @ roots)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum(axis=1)
    traces = np.trace(reference.covariances + other.covariances, axis1=1, axis2=2)
    distances: Float64 = ((reference.means - other.means) ** 2).sum(axis=1) + traces - 2 * cross
    return np.clip(distances, 0, None)


def _linearised(
    features: npt.NDArray[np.floating], real: npt.NDArray[np.floating], own: Float64, of_real: Float64
) -> Float64:
    """Linearised distances: the distance is symmetric, so real images contribute their influence in the same way."""
    distances: Float64 = own @ _influence(features, feature_stats(real)) / len(features) + of_real @ _influence(
        real, feature_stats(features)
    ) / len(real)
    return distances


def _influence(features: npt.NDArray[np.floating], reference: FeatureStats) -> Float64:
    return frechet_influence(features, reference, square_root(reference.covariance))
