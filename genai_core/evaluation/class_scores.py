"""The inception score with its interval, and whether its splits hold enough images to say something."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.against import Figure, Resamples
from genai_core.evaluation.figures.bootstrap import Interval
from genai_core.evaluation.figures.inception_score import (
    LEAST_SPLIT_IMAGES,
    inception_score,
    resampled_inception_scores,
)

# A score of n images is too small by about (classes shown - 1) / 2n of itself, so splits of few images by more than
# all images at once. Beyond this share of it the figure tells more of the splits than of the images.
MAX_SHORTFALL = 0.05


@dataclass(frozen=True)
class ClassScores:
    """is_K and is_K_std by name, none where the splits are too small for a score; what a reader must know."""

    figures: dict[str, Figure]
    warnings: tuple[str, ...]


def class_scores(logits: npt.NDArray[np.floating], kind: str, resamples: Resamples) -> ClassScores:
    """Of the logits (N, K) of images, over evaluation.is_splits splits, in the features of an extractor's kind."""
    splits = resamples.config.is_splits
    if len(logits) < LEAST_SPLIT_IMAGES * splits:
        return ClassScores(
            {},
            (
                f"no inception score: {len(logits)} images in {splits} splits are fewer than {LEAST_SPLIT_IMAGES} a "
                "split; more images, or fewer evaluation.is_splits",
            ),
        )
    score = inception_score(logits, splits)
    # The score is the exponential of what an image says of its class: nothing at least, and at most all of K classes,
    # or which of the split's images it is.
    bounds = Interval(1.0, float(min(logits.shape[1], -(-len(logits) // splits))))
    figures = {
        f"is_{kind}": resamples.figure(score.mean, resampled_inception_scores(logits, resamples.weights), bounds),
        f"is_{kind}_std": Figure(score.std),
    }
    whole = inception_score(logits, 1).mean
    if score.mean >= (1 - MAX_SHORTFALL) * whole:
        return ClassScores(figures, ())
    warning = (
        f"{len(logits) // splits} images a split: is_{kind} is {score.mean:.4g} over {splits} splits and {whole:.4g} "
        "over all images at once; more images, or fewer evaluation.is_splits"
    )
    return ClassScores(figures, (warning,))
