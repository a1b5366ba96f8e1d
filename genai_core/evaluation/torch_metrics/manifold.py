"""Precision and recall, density and coverage."""

from typing import Any, NamedTuple

from torch import Tensor

from genai_core.evaluation.figures.manifold import Overlap, manifold, overlap
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, FeatureSets


class Precision(NamedTuple):
    """Share of the other images inside real balls, and share of the real images inside others' balls, float64."""

    precision: Tensor
    recall: Tensor


class Density(NamedTuple):
    """Number of real balls that contain an image, over k, and share of real balls that contain one, float64."""

    density: Tensor
    coverage: Tensor


class PrecisionRecall(FeatureSets):
    """Improved precision and recall (Kynkaanniemi et al. 2019). extractor: (N, C, H, W) uint8 to features (N, D)."""

    higher_is_better = True

    def __init__(self, extractor: FeatureExtractor, neighbours: int = 3, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.neighbours = neighbours

    def compute(self) -> Precision:
        """Return both shares. Raises ValueError when a set has no more images than neighbours."""
        found = _overlap(self, self.neighbours)
        return Precision(*self.numbers(found.precise.mean(), found.recalled.mean()))


class DensityCoverage(FeatureSets):
    """Density and coverage (Naeem et al. 2020). extractor: (N, C, H, W) uint8 to features (N, D)."""

    higher_is_better = True

    def __init__(self, extractor: FeatureExtractor, neighbours: int = 5, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.neighbours = neighbours

    def compute(self) -> Density:
        """Return both figures. Raises ValueError when a set has no more images than neighbours."""
        found = _overlap(self, self.neighbours)
        return Density(*self.numbers(found.density.mean(), found.covered.mean()))


def _overlap(metric: FeatureSets, neighbours: int) -> Overlap:
    real, other = metric.sets()
    return overlap(manifold(other, neighbours, neighbours), manifold(real, neighbours, neighbours))
