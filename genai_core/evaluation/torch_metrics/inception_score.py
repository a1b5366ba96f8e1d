"""Inception score with constant memory: sums of probabilities and entropies in float64."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from genai_core.evaluation.figures.inception_score import LEAST_SPLIT_IMAGES
from genai_core.evaluation.torch_metrics.features import FeatureExtractor, SetMetric, checked_features


class Score(NamedTuple):
    """Mean and standard deviation (population) over the splits, float64."""

    mean: Tensor
    std: Tensor


class InceptionScore(SetMetric):
    """Inception score of images, from the logits of a classifier.

    extractor: maps images (N, C, H, W) uint8 to logits (N, classes), or is a FeatureNetwork with class logits. Image i
    of a process belongs to split i modulo `splits`, because the total is not known in advance; the published form uses
    consecutive parts.
    """

    higher_is_better = True

    counts: Tensor
    probabilities: Tensor
    negative_entropies: Tensor
    seen: Tensor

    def __init__(self, extractor: FeatureExtractor, classes: int, splits: int = 10, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.splits, self.classes = splits, classes
        self.add_state("counts", torch.zeros(splits, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("probabilities", torch.zeros((splits, classes), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("negative_entropies", torch.zeros(splits, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool = False) -> None:
        """Add images (N, C, H, W) uint8. Real ones are skipped, so that a MetricCollection can pass on both sets."""
        if real:
            return
        log_p = checked_features(self.extractor, images, self.classes, "logits").log_softmax(dim=1)
        p = log_p.exp()
        split = (int(self.seen) + torch.arange(len(images), device=p.device)) % self.splits
        self.counts.index_add_(0, split, torch.ones_like(p[:, 0]))
        self.probabilities.index_add_(0, split, p)
        # A probability that underflows is 0, and 0 log 0 is 0.
        self.negative_entropies.index_add_(0, split, (p * log_p.clamp(min=-1e9)).sum(dim=1))
        self.seen += len(images)

    def compute(self) -> Score:
        """Return the score. Raises RuntimeError when a split has fewer than LEAST_SPLIT_IMAGES images."""
        if (self.counts < LEAST_SPLIT_IMAGES).any():
            raise RuntimeError(
                f"expected at least {LEAST_SPLIT_IMAGES} images in each of {self.splits} splits, got {int(self.seen)} "
                "images"
            )
        marginal = self.probabilities / self.counts[:, None]
        entropy_of_mean = -torch.special.xlogy(marginal, marginal).sum(dim=1)
        scores = (self.negative_entropies / self.counts + entropy_of_mean).exp()
        return Score(scores.mean(), scores.std(correction=0))
