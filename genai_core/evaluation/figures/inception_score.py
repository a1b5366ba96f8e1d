"""Inception score and label agreement: figures from a classifier's logits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.statistics import Float64

LEAST_SPLIT_IMAGES = 2  # a single image equals its own mean: its score is always 1


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over the splits."""

    mean: float
    std: float


def inception_score(logits: npt.NDArray[np.floating], splits: int) -> InceptionScore:
    """Inception score of logits (N, K) (Salimans et al. 2016, arXiv 1606.03498), over consecutive, near-equal splits.

    Computed in logarithms, so that confident logits do not give 0 times minus infinity. Raises ValueError when there
    are fewer than LEAST_SPLIT_IMAGES images per split.
    """
    if splits < 1 or len(logits) < LEAST_SPLIT_IMAGES * splits:
        raise ValueError(
            f"expected at least {LEAST_SPLIT_IMAGES} images per split, got {len(logits)} images and {splits} splits"
        )
    scores = [_split_score(part) for part in np.array_split(logits.astype(np.float64), splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def resampled_inception_scores(logits: npt.NDArray[np.floating], weights: Float64) -> Float64:
    """Inception score over one split of each resample (R,): logits (N, K), weights (R, N) of its images.

    The score is exp(H(mean class distribution) - mean H(class distribution)), two weighted means.
    """
    log_p = log_softmax(logits.astype(np.float64))
    p = np.exp(log_p)
    shares = weights / weights.sum(axis=1, keepdims=True)
    marginal = shares @ p
    # 0 log 0 is 0: a class that no image shows.
    log_marginal = np.log(marginal, out=np.zeros_like(marginal), where=marginal > 0)
    scores: Float64 = np.exp(shares @ (p * log_p).sum(axis=1) - (marginal * log_marginal).sum(axis=1))
    return scores


def label_agreement(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each image's most likely class, by logits (N, K), is the requested one, labels (N,): (N,)."""
    if len(logits) != len(labels):
        raise ValueError(f"expected one label per image, got {len(logits)} images and {len(labels)} labels")
    agreed: npt.NDArray[np.bool_] = logits.argmax(axis=1) == labels
    return agreed


def log_softmax(logits: Float64) -> Float64:
    """Logarithms of class probabilities (N, K) from logits (N, K)."""
    normalised: Float64 = logits - _log_sum_exp(logits, axis=1)
    return normalised


def _split_score(logits: Float64) -> float:
    """exp of the mean KL divergence from the marginal class distribution to each image's."""
    log_p = log_softmax(logits)
    log_marginal = _log_sum_exp(log_p, axis=0) - np.log(len(logits))
    divergence = (np.exp(log_p) * (log_p - log_marginal)).sum(axis=1)
    return float(np.exp(divergence.mean()))


def _log_sum_exp(values: Float64, axis: int) -> Float64:
    largest = values.max(axis=axis, keepdims=True)
    total: Float64 = largest + np.log(np.exp(values - largest).sum(axis=axis, keepdims=True))
    return total
