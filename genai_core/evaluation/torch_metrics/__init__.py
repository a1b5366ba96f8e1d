"""The figures as torchmetrics.Metric, without the pipeline: for any feature extractor and any training loop.

    network, description = load_extractor("models/extractor")
    extractor = SharedExtractor(network)  # or any (N, C, H, W) uint8 -> (N, D)
    metrics = MetricCollection([FrechetDistance(extractor, description.feature_dim), PrecisionRecall(extractor)])
    metrics.update(real_images, real=True)
    metrics.update(generated_images, real=False)
    metrics.compute()

State is always float64 or float32 features, on the device that the metric is on, and torchmetrics sums or gathers it
over processes.
"""

from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.torch_metrics.fd_infinity import FrechetDistanceInfinity
from genai_core.evaluation.torch_metrics.features import SharedExtractor
from genai_core.evaluation.torch_metrics.frechet import FrechetDistance
from genai_core.evaluation.torch_metrics.inception_score import InceptionScore
from genai_core.evaluation.torch_metrics.kernel import KernelDistance
from genai_core.evaluation.torch_metrics.manifold import DensityCoverage, PrecisionRecall
from genai_core.evaluation.torch_metrics.memorisation import Memorisation

__all__ = [
    "DensityCoverage",
    "FrechetDistance",
    "FrechetDistanceInfinity",
    "InceptionScore",
    "KernelDistance",
    "Memorisation",
    "PrecisionRecall",
    "SharedExtractor",
    "load_extractor",
]
