"""Kernel distance (KID): unbiased, over random subsets or all pairs."""

from typing import Any, NamedTuple

from torch import Tensor

from genai_core.evaluation.figures.kernel import subset_kernel_distance
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, FeatureSets


class Distance(NamedTuple):
    """Mean and standard deviation over the subsets, float64."""

    mean: Tensor
    std: Tensor


class KernelDistance(FeatureSets):
    """Squared maximum mean discrepancy with the cubic kernel (Binkowski et al. 2018), over random subsets by `seed`.

    extractor: maps images (N, C, H, W) uint8 to features (N, D), or is a FeatureNetwork. The same images in the same
    order give the same value; if subset_images is the number of images, in any order.
    """

    higher_is_better = False

    def __init__(
        self, extractor: FeatureExtractor, subsets: int = 100, subset_images: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(extractor, **kwargs)
        self.subsets, self.subset_images, self.seed = subsets, subset_images, seed

    def compute(self) -> Distance:
        """Return the distance. Raises ValueError when a set has fewer images than a subset."""
        real, other = self.sets()
        found = subset_kernel_distance(
            other, real, subsets=self.subsets, subset_images=self.subset_images, seed=self.seed
        )
        return Distance(*self.numbers(found.mean, found.std))
