"""Parts of a picture that drive the decision of the classifier: occlusion (Zeiler and Fergus 2014, arXiv 1311.2901).

A patch is replaced by the same part of training images, and not by grey: grey is no part of any picture, and on digits
it would itself be evidence. The mean over several of them is the marginal effect of the patch (Zintgraf et al. 2017,
arXiv 1702.04595). Gradients were not used: those of these networks are noise from pixel to pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.features import Features, extract_features

Pixels = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

REPLACEMENTS = 8  # training images whose parts replace a patch
_PATCHES_PER_SIDE = 4  # a patch is a quarter of the shorter side
_MAX_POSITIONS = 14  # of a patch along one side
_LEAST_EVIDENCE = 0.05  # nats: if no patch matters more, the map would show rounding
_LEAST_CHANGE = 1e-3  # of the features' length, as much
_BATCH_IMAGES = 256


@dataclass(frozen=True)
class Attribution:
    """How much each part of a picture matters.

    heat: (H, W) in 0..1, the mean effect of the patches that cover a pixel, 1 for the largest; all 0 if no patch
    matters. meaning: "class", the effect is by how much the log-odds of the class fall, in nats, and parts that speak
    against the class are 0; or "features", it is how far the extractor's features move. largest: effect of the
    patch that matters most, in that unit. label: index of the class, and probability: of it in the whole picture;
    None for "features".
    """

    heat: Float64
    meaning: str
    largest: float
    label: int | None
    probability: float | None


def attribute(
    extractor: FeatureNetwork,
    description: ExtractorDescription,
    image: Pixels,
    replacements: Pixels,
    label: int | None = None,
) -> Attribution:
    """Find what drives the class decision on an image (C, H, W) uint8.

    replacements: (N, C, H, W) uint8, training images. label: the class to explain, None for the one that the
    classifier sees. An extractor that was not trained on classes is explained by its features. Raises ValueError for an
    image that the extractor does not accept, or a label that it does not know.
    """
    whole = extract_features(extractor, image[None], 1)
    classes = len(description.classes) if description.kind == "classifier" else 0
    if label is not None and not 0 <= label < classes:
        raise ValueError(
            f"expected a class from 0 to {classes - 1}, got {label}" if classes else "no classes to explain"
        )
    if classes and label is None:
        label = int(whole.logits[0].argmax())
    effects: Float64 = np.mean([_effects(extractor, image, other, whole, label) for other in replacements], axis=0)
    least = _LEAST_EVIDENCE if classes else _LEAST_CHANGE * float(np.linalg.norm(whole.features))
    largest = float(effects.max())
    heat = _spread(np.maximum(effects, 0.0), image.shape[1:])
    return Attribution(
        heat=heat / heat.max() if largest > least else np.zeros_like(heat),
        meaning="class" if classes else "features",
        largest=max(largest, 0.0),
        label=label if classes else None,
        probability=_probability(whole.logits[0], label) if classes and label is not None else None,
    )


def patches(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield overlapping square patches (rows, columns) that cover every pixel of an image."""
    side = max(1, round(min(height, width) / _PATCHES_PER_SIDE))
    for top in _starts(height - side):
        for left in _starts(width - side):
            yield slice(top, top + side), slice(left, left + side)


def _starts(last: int) -> list[int]:
    """Return places from 0 to `last`, with both, in equal steps of at least 1, at most _MAX_POSITIONS."""
    count = min(last + 1, _MAX_POSITIONS)
    return [round(place) for place in np.linspace(0, last, count).tolist()]


def _effects(extractor: FeatureNetwork, image: Pixels, other: Pixels, whole: Features, label: int | None) -> Float64:
    """Return the effect of replacing each patch by that of another image, (patches,)."""
    places = list(patches(*image.shape[1:]))
    occluded = np.repeat(image[None], len(places), axis=0)
    for changed, (rows, columns) in zip(occluded, places, strict=True):
        changed[:, rows, columns] = other[:, rows, columns]
    found = extract_features(extractor, occluded, _BATCH_IMAGES)
    if label is None:
        moved: Float64 = np.linalg.norm(found.features.astype(np.float64) - whole.features, axis=1)
        return moved
    return _log_odds(whole.logits, label) - _log_odds(found.logits, label)


def _log_odds(logits: npt.NDArray[np.float32], label: int) -> Float64:
    """Return the log-odds of a class, (N,) from logits (N, K).

    Not the probability: it is near 1 for most pictures whatever is occluded.
    """
    others = np.delete(logits.astype(np.float64), label, axis=1)
    odds: Float64 = logits[:, label] - np.logaddexp.reduce(others, axis=1)
    return odds


def _probability(logits: npt.NDArray[np.float32], label: int) -> float:
    return float(1 / (1 + np.exp(-_log_odds(logits[None], label)[0])))


def _spread(effects: Float64, size: tuple[int, ...]) -> Float64:
    """Return the mean effect of the patches that cover each pixel, (H, W)."""
    total, count = np.zeros(size), np.zeros(size)
    for effect, place in zip(effects, patches(*size), strict=True):
        total[place] += effect
        count[place] += 1
    return total / count
