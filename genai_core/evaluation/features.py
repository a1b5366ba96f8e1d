"""Extract features and logits from images: one pass, from which every figure is computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genai_core.evaluation.feature_network import FeatureNetwork
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import feature_stats, square_root


@dataclass(frozen=True)
class Features:
    """features (N, D) and logits (N, K), float32, in the order of the images."""

    features: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]


@torch.inference_mode()
def extract_features(
    extractor: FeatureNetwork,
    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    batch_images: int,
    on_progress: Callable[[int], None] | None = None,
) -> Features:
    """Extract features of images (N, C, H, W) uint8, in float32; the batch size only affects the speed.

    The images may also be float32 in 0..255 if they have the extractor's float_size.

    Raises ValueError when the images do not have the extractor's size and type, or when features are not finite.
    """
    check_images(extractor, images)
    if len(images) == 0:
        raise ValueError("expected images to measure, got none")
    device = extractor.device
    features, logits = [], []
    with float32_convolutions():
        for begin in range(0, len(images), batch_images):
            # Copied, because torch warns about read-only arrays, such as memory-mapped ones.
            output = extractor(torch.from_numpy(images[begin : begin + batch_images].copy()).to(device))
            features.append(output.features.cpu().numpy())
            logits.append(output.logits.cpu().numpy())
            if on_progress is not None:
                on_progress(min(begin + batch_images, len(images)))
    result = Features(np.concatenate(features), np.concatenate(logits))
    if not (np.isfinite(result.features).all() and np.isfinite(result.logits).all()):
        raise ValueError("the extractor returned non-finite features; train it again with a lower learning rate")
    return result


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Make GPUs compute float32 convolutions in float32.

    By default torch lets them use TF32, with 10 bits of mantissa, which changes Inception's features by 4% of their
    standard deviation (on an H100). In float32 they match the CPU's to 2e-6.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@dataclass(frozen=True)
class Drift:
    """Effect of bf16: RMS change of the features over their standard deviation, and the resulting distance."""

    images: int
    relative_change: float
    frechet_distance: float


def bf16_drift(extractor: FeatureNetwork, images: npt.NDArray[np.uint8], batch_images: int = 50) -> Drift:
    """Compare images (N, C, H, W) uint8 in bf16 and float32. The extractor's precision is restored."""
    found, before = {}, getattr(extractor, "precision", "fp32")
    try:
        for precision in ("fp32", "bf16"):
            extractor.precision = precision
            found[precision] = extract_features(extractor, images, batch_images).features.astype(np.float64)
    finally:
        extractor.precision = before
    change = np.sqrt(((found["bf16"] - found["fp32"]) ** 2).mean())
    stats = feature_stats(found["fp32"])
    distance = frechet_distance(stats, square_root(stats.covariance), feature_stats(found["bf16"]))
    return Drift(len(images), float(change / found["fp32"].std(axis=0).mean()), distance)


def check_images(extractor: FeatureNetwork, images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> None:
    """Raise ValueError, saying what to do, unless `extractor` accepts these images."""
    channels, size = extractor.channels, extractor.image_size
    is_resized = images.dtype == np.float32 and images.shape[2:] == extractor.float_size
    fits = (
        (images.dtype == np.uint8 or is_resized)
        and images.ndim == 4
        and (images.shape[1] == channels if channels else images.shape[1] in (1, 3))
        and (size is None or images.shape[2:] == size)
    )
    if not fits:
        height, width = size or ("any", "any")
        expected = f"{channels or '1 or 3'}, {height}, {width}"
        raise ValueError(
            f"the extractor takes uint8 images (N, C, H, W) with C, H, W = {expected}, got {images.dtype} "
            f"{images.shape}; use an extractor for this dataset version"
        )
