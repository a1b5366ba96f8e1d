"""Share of images that are near copies of training images."""

from typing import Any, NamedTuple

from torch import Tensor

from genai_core.evaluation.figures.memorisation import threshold, within
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, FeatureSets


class Memorised(NamedTuple):
    """Share of near copies, and the distance up to which an image counts as one, float64."""

    share: Tensor
    threshold: Tensor


class Memorisation(FeatureSets):
    """Share of the other images that are nearer to a real (training) image than real images usually are to each other.

    extractor: maps images (N, C, H, W) uint8 to features (N, D), or is a FeatureNetwork. The threshold is the
    `percentile` of the distances from each real image to its nearest other one: new images of the same distribution
    have about that share. compute() compares all pairs.
    """

    higher_is_better = False

    def __init__(self, extractor: FeatureExtractor, percentile: float = 1.0, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.percentile = percentile

    def compute(self) -> Memorised:
        """Return share and threshold. Raises ValueError when there are fewer than two real images."""
        real, other = self.sets()
        limit = threshold(nearest(real).distances[:, 0], self.percentile)
        return Memorised(*self.numbers(within(other, real, limit).copied.mean(), limit))
