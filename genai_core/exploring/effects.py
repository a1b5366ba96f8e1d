"""What a model's noise does to its pictures, as linear maps estimated from a population of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genai_core.exploring.attributes import Float64
from genai_core.exploring.population import Population

MAX_COMPONENTS = 6
# A component explains this many times what it would if noise and pictures were paired at random.
ABOVE_CHANCE = 1.5
_FOLDS = 4


@dataclass(frozen=True)
class PrincipalEffect:
    """A unit vector of noise coordinates (K,), the unit pattern of pixels (P,) that it adds, and its share of variance.

    share: of the pixels' variance within a class.
    """

    coordinates: Float64
    pattern: Float64
    share: float


@dataclass(frozen=True)
class AttributeEffect:
    """Normal (K,) of a logistic regression on noise coordinates, and its accuracy on unseen pictures."""

    coordinates: Float64
    accuracy: float


def principal_effects(population: Population) -> Iterator[PrincipalEffect]:
    """Yield what linear effects of noise on pixels explain most, at most MAX_COMPONENTS, above chance.

    The regression of pixels X on standard normal noise Z is X'Z / N; its singular vectors are the directions. Their
    signs are those that make pictures brighter.
    """
    pixels, noise = population.pixels, population.coordinates
    patterns, values, vectors = np.linalg.svd(pixels.T @ noise / len(noise), full_matrices=False)
    shuffled = noise[np.random.default_rng(0).permutation(len(noise))]
    chance = np.linalg.svd(pixels.T @ shuffled / len(noise), compute_uv=False)[0]
    for index in range(min(MAX_COMPONENTS, len(values))):
        if values[index] ** 2 <= ABOVE_CHANCE * chance**2:
            return
        sign = 1.0 if patterns[:, index].sum() >= 0 else -1.0
        share = float(values[index] ** 2 / population.variance)
        yield PrincipalEffect(sign * vectors[index], sign * patterns[:, index], share)


def attribute_effect(coordinates: Float64, values: Float64) -> AttributeEffect | None:
    """Tell noise (N, K) with a value (N,) above the median from the rest, by a logistic regression.

    None if nearly all pictures have the same value, such as the brightness of white ones.
    """
    from sklearn.linear_model import LogisticRegression  # takes over a second to import
    from sklearn.model_selection import cross_val_score

    above = values > np.median(values)
    if min(above.sum(), (~above).sum()) < _FOLDS:
        return None
    # Strong enough a penalty that 64 coordinates of 512 pictures are not fitted to their chance.
    model = LogisticRegression(C=0.05)
    accuracy = float(cross_val_score(model, coordinates, above, cv=_FOLDS).mean())
    return AttributeEffect(model.fit(coordinates, above).coef_[0].astype(np.float64), accuracy)
