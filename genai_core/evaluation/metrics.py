"""The figures as pure formulas on arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.statistics import FeatureStats, Float64


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over the splits."""

    mean: float
    std: float


def frechet_distance(reference: FeatureStats, reference_root: Float64, other: FeatureStats) -> float:
    """Squared Frechet distance between two Gaussians (Heusel et al. 2017, arXiv 1706.08500, eq. 6).

    reference_root: (D, D), square_root(reference.covariance). The trace of the root of the covariances' product is
    the sum of the roots of its eigenvalues, and root @ covariance @ root has the same ones and is symmetric: that takes
    one symmetric eigenvalue problem, twenty times faster at D = 2048, and holds for singular covariances too.
    Raises ValueError when D differs.
    """
    if reference.mean.shape != other.mean.shape:
        raise ValueError(f"features must have the same dimension, got {reference.mean.shape} and {other.mean.shape}")
    eigenvalues = np.linalg.eigvalsh(reference_root @ other.covariance @ reference_root)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    difference = reference.mean - other.mean
    distance = difference @ difference + np.trace(reference.covariance) + np.trace(other.covariance) - 2 * cross
    # Equal sets come out at about -1e-12.
    return max(0.0, float(distance))


def inception_score(logits: npt.NDArray[np.floating], splits: int) -> InceptionScore:
    """Inception score of logits (N, K) (Salimans et al. 2016, arXiv 1606.03498), over consecutive, near-equal splits.

    Computed in logarithms, so that confident logits do not give 0 times minus infinity. Raises ValueError when there
    are fewer images than splits.
    """
    if splits < 1 or len(logits) < splits:
        raise ValueError(f"expected at least one image a split, got {len(logits)} images and {splits} splits")
    scores = [_split_score(part) for part in np.array_split(logits.astype(np.float64), splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def label_agreement(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Share of images whose likeliest class, by logits (N, K), is the one that they were asked for, labels (N,)."""
    if len(logits) != len(labels):
        raise ValueError(f"expected one label an image, got {len(logits)} images and {len(labels)} labels")
    return float((logits.argmax(axis=1) == labels).mean())


def _split_score(logits: Float64) -> float:
    """exp of the mean KL divergence between the classes of an image and the classes of all."""
    log_p = logits - _log_sum_exp(logits, axis=1)
    log_marginal = _log_sum_exp(log_p, axis=0) - np.log(len(logits))
    divergence = (np.exp(log_p) * (log_p - log_marginal)).sum(axis=1)
    return float(np.exp(divergence.mean()))


def _log_sum_exp(values: Float64, axis: int) -> Float64:
    largest = values.max(axis=axis, keepdims=True)
    total: Float64 = largest + np.log(np.exp(values - largest).sum(axis=axis, keepdims=True))
    return total
