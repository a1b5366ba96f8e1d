"""Fréchet distance extrapolated to infinitely many images."""

from typing import Any

import numpy as np
from torch import Tensor

from genai_core.evaluation.figures.fd_infinity import curve_ends, frechet_curve
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, FeatureSets


class FrechetDistanceInfinity(FeatureSets):
    """Fréchet distance without the bias of small sets (Chong and Forsyth 2020), from distances at `points` counts.

    extractor: maps images (N, C, H, W) uint8 to features (N, D), or is a FeatureNetwork. The value may be slightly
    negative. The same images in the same order give the same value. compute() solves `points` symmetric eigenvalue
    problems on the CPU.
    """

    higher_is_better = False

    def __init__(self, extractor: FeatureExtractor, points: int = 15, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.points, self.seed = points, seed

    def compute(self) -> Tensor:
        """Return the distance, float64. Raises ValueError when a set has fewer than two images, or too few to fit."""
        real, other = (features.cpu().numpy() for features in self.sets())
        stats = feature_stats(real)
        order = np.random.default_rng(self.seed).permutation(len(other))  # each count is a random sample
        curve = frechet_curve(other[order], curve_ends(len(other), self.points), stats, square_root(stats.covariance))
        (distance,) = self.numbers(curve.at_infinity())
        return distance
