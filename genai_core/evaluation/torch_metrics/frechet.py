"""Fréchet distance with constant memory: sums in float64."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import FeatureStats, Float64, square_root
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, SetMetric, checked_features


class FrechetDistance(SetMetric):
    """Fréchet distance between the Gaussians of two sets of images, in the features of `extractor`.

    extractor: maps images (N, C, H, W) uint8 to features (N, feature_dim), or is a FeatureNetwork. With Inception's
    pooled features and the standard resize this is FID. With reset_real=False the real images and their root survive
    reset(): each further compute() costs one symmetric eigenvalue problem on the CPU.
    """

    higher_is_better = False

    real_count: Tensor
    real_sum: Tensor
    real_products: Tensor
    other_count: Tensor
    other_sum: Tensor
    other_products: Tensor

    def __init__(self, extractor: FeatureExtractor, feature_dim: int, reset_real: bool = True, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.feature_dim = feature_dim
        self.reset_real = reset_real
        # A covariance and its root. Any change of the covariance, also by reset() or merge_state(), invalidates it.
        self._rooted: tuple[Float64, Float64] | None = None
        for name in ("real", "other"):
            self.add_state(f"{name}_count", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{name}_sum", torch.zeros(feature_dim, dtype=torch.float64), dist_reduce_fx="sum")
            products = torch.zeros((feature_dim, feature_dim), dtype=torch.float64)
            self.add_state(f"{name}_products", products, dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images (N, C, H, W) uint8 to the real set, or to the other one."""
        features = checked_features(self.extractor, images, self.feature_dim)
        if real:
            self.real_count += len(features)
            self.real_sum += features.sum(dim=0)
            self.real_products += features.T @ features
        else:
            self.other_count += len(features)
            self.other_sum += features.sum(dim=0)
            self.other_products += features.T @ features

    def compute(self) -> Tensor:
        """Return the squared distance, float64. Raises RuntimeError when a set has fewer than two images."""
        for name, count in (("real", self.real_count), ("other", self.other_count)):
            if int(count) < 2:
                raise RuntimeError(f"expected at least two {name} images, got {int(count)}")
        real = _stats(self.real_count, self.real_sum, self.real_products)
        other = _stats(self.other_count, self.other_sum, self.other_products)
        if self._rooted is None or not np.array_equal(self._rooted[0], real.covariance):
            self._rooted = real.covariance, square_root(real.covariance)
        (distance,) = self.numbers(frechet_distance(real, self._rooted[1], other))
        return distance

    def reset(self) -> None:
        """Forget all images or, with reset_real=False, all but the real ones."""
        kept = (self.real_count, self.real_sum, self.real_products)
        super().reset()
        if not self.reset_real:
            self.real_count, self.real_sum, self.real_products = kept


def _stats(count: Tensor, total: Tensor, products: Tensor) -> FeatureStats:
    mean = total / count
    covariance = (products - count * torch.outer(mean, mean)) / (count - 1)
    return FeatureStats(int(count), mean.cpu().numpy(), covariance.cpu().numpy())
