"""What a direction does to pictures that it was not found in: the figures by which it is offered or not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.exploring.attributes import Attribute, Float64, Pixels, measure
from genai_core.exploring.population import Draw, Noise, Population, Weights, one_hot, standard_noise

SHOWN, STEPS = 8, 5  # pictures on which a direction is tried, and amounts from low to high
_OTHER_SEED = 1  # not the population's
_NAMED_CHANGE = 0.7  # standard deviations: a smaller change of an attribute is not worth a word

Labels = npt.NDArray[np.int64]
Shift = Callable[[Noise, Weights, float], tuple[Noise, Weights]]  # by an amount
# Of images (N, C, H, W) and the indices (N,) of their classes before the shift: (N,), in standard deviations.
Value = Callable[[Pixels, Labels], Float64]


@dataclass(frozen=True)
class Trial:
    """Figures of a direction from low to high.

    effect: root mean squared difference of the pictures at both ends, divided by that of two unrelated pictures of one
    class. change: of what the direction should do, in standard deviations. steady: share of the steps at which it
    grows. variety: how much the pictures differ from each other at the end where they differ less, as variance divided
    by that in the middle. attributes: mean change of each measured attribute, in standard deviations.
    """

    effect: float
    change: float
    steady: float
    variety: float
    attributes: dict[Attribute, float]

    def in_words(self, at_most: int = 2) -> str:
        """Say what changes most, from low to high; empty if no measured attribute changes much."""
        strongest = sorted(self.attributes.items(), key=lambda item: -abs(item[1]))[:at_most]
        named = [(a, change > 0) for a, change in strongest if abs(change) >= _NAMED_CHANGE]
        if not named:
            return ""
        low = " and ".join(a.less if rises else a.more for a, rises in named)
        high = " and ".join(a.more if rises else a.less for a, rises in named)
        return f"from {low} to {high}"


def try_direction(
    draw: Draw,
    population: Population,
    shift: Shift,
    value: Value,
    ends: tuple[float, float],
    labels: Labels | None = None,
) -> Trial:
    """Draw SHOWN pictures at STEPS amounts between the ends, moved by `shift`, and measure what changes.

    value: what the direction should increase. labels: classes (SHOWN,) of the pictures, None: spread over all.
    """
    if labels is None:
        labels = spread(np.arange(max(population.classes, 1)))
    noise, weights = standard_noise(SHOWN, population.noise_shape, _OTHER_SEED), one_hot(labels, population.classes)
    moved = [shift(noise, weights, amount) for amount in np.linspace(*ends, STEPS)]
    mixed = None if weights is None else np.concatenate([part for _, part in moved if part is not None])
    images = draw(np.concatenate([part for part, _ in moved]), mixed)
    steps = images.reshape(STEPS, SHOWN, *images.shape[1:]).astype(np.float64)
    values = value(images, np.tile(labels, STEPS)).reshape(STEPS, SHOWN)
    attributes = {
        attribute: float((found[-SHOWN:] - found[:SHOWN]).mean() / population.attribute_stds[attribute])
        for attribute, found in measure(images).items()
        if attribute in population.attributes
    }
    usual = np.sqrt(2 * population.variance / steps[0, 0].size)
    return Trial(
        effect=float(np.sqrt(((steps[-1] - steps[0]) ** 2).mean()) / usual),
        change=float((values[-1] - values[0]).mean()),
        steady=float((np.diff(values, axis=0) > 0).mean()),
        variety=_variety(steps),
        attributes=attributes,
    )


def _variety(steps: Float64) -> float:
    """Return the variety of pictures (STEPS, SHOWN, C, H, W): near 0 where all are black at an end."""
    variances = steps.var(axis=1).mean(axis=(1, 2, 3))
    middle = float(variances[STEPS // 2])
    return float(min(variances[0], variances[-1])) / middle if middle else 1.0


def spread(classes: Labels) -> Labels:
    """Return SHOWN of the classes, spread over all of them."""
    return classes[np.linspace(0, len(classes) - 1, SHOWN).round().astype(np.int64)]
