"""The figures as torchmetrics.Metric: for any feature extractor and any training loop, without the pipeline.

    fd = FrechetDistance(extractor, feature_dim=2048)      # extractor: (N, C, H, W) uint8 -> (N, 2048)
    fd.update(real_images, real=True)
    fd.update(generated_images, real=False)
    fd.compute()

State is always float64, and torchmetrics sums or gathers it over processes.
"""

from genai_core.evaluation.torch_metrics.frechet import FrechetDistance
from genai_core.evaluation.torch_metrics.inception_score import InceptionScore
from genai_core.evaluation.torch_metrics.kernel import KernelDistance
from genai_core.evaluation.torch_metrics.manifold import DensityCoverage, PrecisionRecall

__all__ = ["DensityCoverage", "FrechetDistance", "InceptionScore", "KernelDistance", "PrecisionRecall"]
