"""Kernel distance: the unbiased squared maximum mean discrepancy with the cubic kernel (x . y / D + 1)^3.

Binkowski et al. 2018, arXiv 1801.01401; unbiased estimator: Gretton et al. 2012, eq. 3. Unlike the Fréchet distance,
its expectation does not depend on the number of images, so it may be slightly negative.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genai_core.evaluation.figures.neighbours import Points, as_tensor, chunks
from genai_core.evaluation.statistics import Float64


@dataclass(frozen=True)
class KernelDistance:
    """The estimate, and N times the influence of each of the N images on it: influence (N,), mean 0."""

    value: float
    influence: Float64


@dataclass(frozen=True)
class SubsetKernelDistance:
    """Mean and standard deviation over random subsets: the form in which KID is usually published."""

    mean: float
    std: float


def kernel_distance(features: Points, real: Points, real_similarity: float) -> KernelDistance:
    """Kernel distance of features (N, D) to real ones (M, D), over all pairs, in chunks of bounded memory.

    real_similarity: mean_similarity(real), shared by all models. Raises ValueError when N < 2 or D differs.
    """
    check_pair(features, real)
    within = _row_sums(features, features) - _kernel_diagonal(features)
    within /= len(features) - 1
    across = _row_sums(features, real) / len(real)
    value = float(within.mean() - 2 * across.mean() + real_similarity)
    influence = 2 * (within - across)
    return KernelDistance(value, influence - influence.mean())


def mean_similarity(features: Points) -> float:
    """Mean of the kernel over all pairs of different images of features (N, D). Raises ValueError when N < 2."""
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features (N, D) of at least two images, got shape {tuple(features.shape)}")
    sums = _row_sums(features, features) - _kernel_diagonal(features)
    return float(sums.mean() / (len(features) - 1))


def subset_kernel_distance(
    features: Points,
    real: Points,
    *,
    subsets: int,
    subset_images: int,
    seed: int,
) -> SubsetKernelDistance:
    """Mean over `subsets` pairs of random subsets of `subset_images` each, sampled without replacement.

    Raises ValueError when a set has fewer images than a subset.
    """
    check_pair(features, real)
    if not 2 <= subset_images <= min(len(features), len(real)):
        raise ValueError(f"expected subsets of 2 to {min(len(features), len(real))} images, got {subset_images}")
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        chosen = real[generator.choice(len(real), subset_images, replace=False)]
        drawn = features[generator.choice(len(features), subset_images, replace=False)]
        values.append(kernel_distance(drawn, chosen, mean_similarity(chosen)).value)
    return SubsetKernelDistance(float(np.mean(values)), float(np.std(values)))


def check_pair(features: Points, real: Points) -> None:
    """Raise ValueError unless these are sets (N, D) and (M, D) of at least two images each."""
    if features.ndim != 2 or real.ndim != 2 or features.shape[1] != real.shape[1]:
        raise ValueError(
            f"expected features (N, D) and (M, D) of the same dimension, got {tuple(features.shape)}, "
            f"{tuple(real.shape)}"
        )
    if min(len(features), len(real)) < 2:
        raise ValueError(f"expected at least two images in each set, got {len(features)} and {len(real)}")


def _row_sums(a: Points, b: Points) -> Float64:
    """Sum of the kernel of each row of a (N, D) with all rows of b (M, D): (N,)."""
    rows, other = as_tensor(a), as_tensor(b).double().T / a.shape[1]
    one = other.new_ones(())
    parts = [
        torch.addmm(one, rows[chunk].double(), other).pow_(3).sum(dim=1) for chunk in chunks(len(a), row_values=len(b))
    ]
    return _array(torch.cat(parts))


def _kernel_diagonal(features: Points) -> Float64:
    return _array((as_tensor(features).double().square().sum(dim=1) / features.shape[1] + 1) ** 3)


def _array(values: Tensor) -> Float64:
    found: Float64 = values.cpu().numpy()
    return found
