"""Disturb images with noise, blur and JPEG at several strengths, to measure how figures react."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from genai_core.config import RobustnessConfig
from genai_core.evaluation.feature_network import FeatureNetwork
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats

Images = npt.NDArray[np.uint8]
BLUR_REACH = 3.0  # in standard deviations; beyond, a Gaussian is negligible


@dataclass(frozen=True)
class DisturbedPoint:
    """Figures under one disturbance; strength 0: undisturbed. agreement None: no labels, or not a classifier."""

    kind: str
    strength: float
    distance: float
    agreement: float | None


def disturbed_points(
    extractor: FeatureNetwork,
    images: Images,
    labels: npt.NDArray[np.int64] | None,
    reference: FeatureStats,
    reference_root: Float64,
    config: RobustnessConfig,
    batch_images: int,
) -> list[DisturbedPoint]:
    """Measure the first config.images of images (N, C, H, W), in random order, under each disturbance.

    Each point has the distance to the reference, and the share of images classified as their requested label (N,), None
    if the extractor does not classify them. Raises ValueError as extract_features does, and for fewer than two images.
    """
    chosen = images[: config.images]
    requested = None if labels is None else labels[: config.images]
    points = []
    plain: DisturbedPoint | None = None
    for kind, strength in strengths(config):
        if strength == 0 and plain is not None:
            points.append(DisturbedPoint(kind, 0.0, plain.distance, plain.agreement))
            continue
        found = extract_features(extractor, disturb(chosen, kind, strength, config.seed), batch_images)
        distance = frechet_distance(reference, reference_root, feature_stats(found.features))
        agreement = None if requested is None else float(label_agreement(found.logits, requested).mean())
        points.append(DisturbedPoint(kind, strength, distance, agreement))
        plain = plain or points[-1]
    return points


def strengths(config: RobustnessConfig) -> Iterator[tuple[str, float]]:
    """Yield each kind from 0 on. noise: standard deviation / 255; blur: the same in pixels; jpeg: 100 - quality."""
    for kind, values in (("noise", config.noise), ("blur", config.blur_px), ("jpeg", config.jpeg_loss)):
        yield kind, 0.0
        for value in values:
            yield kind, float(value)


def disturb(images: Images, kind: str, strength: float, seed: int) -> Images:
    """Disturb images (N, C, H, W) uint8; strength 0 returns them unchanged. Raises ValueError for an unknown kind."""
    if strength == 0:
        return images
    if kind == "noise":
        noisy = images + 255 * strength * np.random.default_rng(seed).standard_normal(images.shape, dtype=np.float32)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if kind == "blur":
        return _blurred(images, strength)
    if kind == "jpeg":
        return np.stack([_through_jpeg(image, 100 - round(strength)) for image in images])
    raise ValueError(f"expected noise, blur or jpeg, got {kind!r}")


def _blurred(images: Images, deviation_px: float) -> Images:
    reach = max(1, int(np.ceil(BLUR_REACH * deviation_px)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation_px) ** 2)
    kernel /= kernel.sum()
    values = images.astype(np.float32)
    for axis in (2, 3):
        # Repeat the edge pixels: a dark rim would be another disturbance.
        wide = np.pad(values, [(reach, reach) if at == axis else (0, 0) for at in range(4)], mode="edge")
        length = images.shape[axis]
        values = sum(weight * wide.take(range(begin, begin + length), axis=axis) for begin, weight in enumerate(kernel))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _through_jpeg(image: Images, quality: int) -> Images:
    buffer, grey = io.BytesIO(), len(image) == 1
    Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)).save(buffer, format="JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer))
    return decoded[None] if grey else decoded.transpose(2, 0, 1)
