"""Mean and covariance of features, and the covariance's square root, which is cached because it is expensive."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureStats:
    """A Gaussian fitted to `count` features: mean (D,) and covariance (D, D), float64."""

    count: int
    mean: Float64
    covariance: Float64


def feature_stats(features: npt.NDArray[np.floating]) -> FeatureStats:
    """Mean and unbiased covariance of features (N, D), in float64. Raises ValueError when N < 2.

    Always float64: torchmetrics uses the features' type, and lower precision changes a Fréchet distance.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"statistics need features (N, D) of at least two images, got shape {features.shape}")
    exact = features.astype(np.float64)
    mean = exact.mean(axis=0)
    exact -= mean
    return FeatureStats(len(exact), mean, exact.T @ exact / (len(exact) - 1))


def square_root(covariance: Float64) -> Float64:
    """Symmetric square root (D, D) of a covariance (D, D), which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    # Rounding makes zero eigenvalues slightly negative. There are many if images are fewer than features.
    root: Float64 = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root
