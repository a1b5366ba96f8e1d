"""Parts of a picture that drive the decision of the classifier: occlusion (Zeiler and Fergus 2014, arXiv 1311.2901).

A patch is replaced by the same part of training images, and not by grey: grey is no part of any picture, and on digits
it would itself be evidence. The mean over several of them is the marginal effect of the patch (Zintgraf et al. 2017,
arXiv 1702.04595). Gradients were not used: those of these networks are noise from pixel to pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.features import Features, extract_features

Pixels = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]
Place = tuple[slice, slice]

REPLACEMENTS = 8  # training images whose parts replace a patch, at most
_PATCHES_PER_SIDE = 4  # a patch is a quarter of the shorter side
# Places of a patch along the shorter side, and replacements. Large images get the first pair that needs no more pixels
# in all than this, so that an answer takes seconds at most; the largest get the last pair.
_PLANS = ((14, REPLACEMENTS), (14, 4), (10, 4), (10, 2), (7, 2), (7, 1))
_MAX_PIXELS = 2_500_000
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
    height, width = image.shape[1:]
    network_size = extractor.float_size  # of a network that enlarges every image
    positions, count = plan(max(height * width, network_size.pixels if network_size else 0))
    places = list(patches(height, width, positions))
    effects: Float64 = np.mean(
        [_effects(extractor, image, other, places, whole, label) for other in replacements[:count]], axis=0
    )
    least = _LEAST_EVIDENCE if classes else _LEAST_CHANGE * float(np.linalg.norm(whole.features))
    largest = float(effects.max())
    heat = _spread(np.maximum(effects, 0.0), places, (height, width))
    return Attribution(
        heat=heat / heat.max() if largest > least else np.zeros_like(heat),
        meaning="class" if classes else "features",
        largest=max(largest, 0.0),
        label=label if classes else None,
        probability=_probability(whole.logits[0], label) if classes and label is not None else None,
    )


def plan(pixels: int) -> tuple[int, int]:
    """Return the places of a patch along one side, and the replacements, for an image of that many pixels."""
    fitting = [(side, count) for side, count in _PLANS if side**2 * count * pixels <= _MAX_PIXELS]
    return fitting[0] if fitting else _PLANS[-1]


def patches(height: int, width: int, positions: int) -> Iterator[Place]:
    """Yield square patches (rows, columns) that cover every pixel, at up to `positions` places of the shorter side."""
    shorter = min(height, width)
    side = max(1, round(shorter / _PATCHES_PER_SIDE))
    for top in _starts(height - side, positions * height // shorter):
        for left in _starts(width - side, positions * width // shorter):
            yield slice(top, top + side), slice(left, left + side)


def _starts(last: int, positions: int) -> list[int]:
    """Return places from 0 to `last`, with both, in equal steps of at least 1."""
    count = min(last + 1, positions)
    return [round(place) for place in np.linspace(0, last, count).tolist()]


def _effects(
    extractor: FeatureNetwork,
    image: Pixels,
    other: Pixels,
    places: Sequence[Place],
    whole: Features,
    label: int | None,
) -> Float64:
    """Return the effect of replacing each patch by that of another image, (patches,)."""
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


def _spread(effects: Float64, places: Sequence[Place], size: tuple[int, int]) -> Float64:
    """Return the mean effect of the patches that cover each pixel, (H, W)."""
    total, count = np.zeros(size), np.zeros(size)
    for effect, place in zip(effects, places, strict=True):
        total[place] += effect
        count[place] += 1
    return total / count
