"""Inception score with its interval, and a check that its splits have enough images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.bootstrap import Interval
from genai_core.evaluation.figures.inception_score import (
    LEAST_SPLIT_IMAGES,
    inception_score,
    resampled_inception_scores,
)
from genai_core.evaluation.set_figures import Figure, Resamples

# The score of n images is too small by a share of about (classes shown - 1) / 2n, so small splits are off by more than
# the whole set. Beyond this shortfall, the figure reflects the splits more than the images.
MAX_SHORTFALL = 0.05


@dataclass(frozen=True)
class ClassScores:
    """is_K and is_K_std by name, empty if the splits are too small for a score; and warnings for the reader."""

    figures: dict[str, Figure]
    warnings: tuple[str, ...]


def class_scores(logits: npt.NDArray[np.floating], kind: str, resamples: Resamples) -> ClassScores:
    """Inception score of logits (N, K), over evaluation.is_splits splits; kind: of the extractor, for the names."""
    splits = resamples.config.is_splits
    if len(logits) < LEAST_SPLIT_IMAGES * splits:
        return ClassScores(
            {},
            (
                f"no inception score: {len(logits)} images in {splits} splits are fewer than {LEAST_SPLIT_IMAGES} per "
                "split; generate more images, or lower evaluation.is_splits",
            ),
        )
    score = inception_score(logits, splits)
    # The score is the exponential of the information between an image and its class: at least none, and at most that of
    # K classes, or of the identity of one of the split's images.
    bounds = Interval(1.0, float(min(logits.shape[1], -(-len(logits) // splits))))
    figures = {
        f"is_{kind}": resamples.figure(score.mean, resampled_inception_scores(logits, resamples.weights), bounds),
        f"is_{kind}_std": Figure(score.std),
    }
    whole = inception_score(logits, 1).mean
    if score.mean >= (1 - MAX_SHORTFALL) * whole:
        return ClassScores(figures, ())
    warning = (
        f"{len(logits) // splits} images per split: is_{kind} is {score.mean:.4g} over {splits} splits and {whole:.4g} "
        "over all images at once; generate more images, or lower evaluation.is_splits"
    )
    return ClassScores(figures, (warning,))
