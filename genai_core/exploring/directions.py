"""Directions in a model's noise, each with what it does. Only those that visibly and steadily do it are offered.

All are found in one population of drawn pictures, so any family has them whose noise controls anything:

principal   The regression of pixels on noise. For standard normal noise it is the mean Jacobian (Stein 1981); its
            leading singular vectors change the pictures most, in the same way everywhere. GANSpace (Härkönen et al.
            2020, arXiv 2004.02546) transfers the principal components of an early activation to the latent by such a
            regression. Pixels take the activation's place: diffusion models and VQ-VAEs have none.
attribute   The normal of a logistic regression on the noise (InterFaceGAN, Shen et al. 2020, arXiv 1907.10786), which
            tells pictures with more of a measured attribute from those with less.
class       From a picture's own class to another: the classes are mixed and the noise stays.

A model with classes is searched within them. In spatial noise, as of diffusion models, the lowest frequencies are
searched: finer noise changes little, and its hundreds of dimensions would hide the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import floor, prod, sqrt

import numpy as np
import numpy.typing as npt

from genai_core.exploring.attributes import Attribute, Float64, Pixels, measure
from genai_core.exploring.effects import attribute_effect, principal_effects
from genai_core.exploring.population import Draw, Noise, Population, Weights, draw_population
from genai_core.exploring.trial import Labels, Shift, Trial, Value, spread, try_direction

POPULATION, SEED = 512, 0
# What is offered changes a picture by this share of the difference of two unrelated ones, and that many standard
# deviations of what it is named for, and grows at this share of the steps.
LEAST_EFFECT, LEAST_CHANGE, LEAST_STEADY = 0.2, 1.0, 0.75
MAX_CHANGE = 6.0  # from three standard deviations below to three above: beyond it, pictures fall apart
LEAST_VARIETY, SHORTER = 0.4, 0.75  # where an end has less variety, pictures are all alike, and the way is shortened
SAME_COSINE = 0.85  # of two attributes' directions closer than this, the one with the better classifier is offered
MAX_CLASSES = 20  # a list of more classes serves better than as many directions


@dataclass(frozen=True)
class Direction:
    """A direction in noise, or towards a class.

    kind: "principal", "attribute" or "class". what: in words, from low to high. low, high: sensible amounts.
    vector: noise_shape, of length 1; None for a class, whose index is `target`. effect, steady: as in Trial.
    share: of the variance of pixels within a class that a principal direction explains. accuracy: share of unseen
    pictures that an attribute's classifier tells apart, 0.5 by chance.
    """

    name: str
    kind: str
    what: str
    low: float
    high: float
    effect: float
    steady: float
    vector: npt.NDArray[np.float32] | None = None
    target: int | None = None
    share: float | None = None
    accuracy: float | None = None

    def move(self, noise: Noise, weights: Weights, amount: float) -> tuple[Noise, Weights]:
        """Return noise (N, *noise_shape) and class weights (N, classes) moved by an amount.

        Noise moves along the vector. A class's share becomes amount + (1 - amount) x its share; those of
        the others keep their proportions.
        """
        if self.vector is not None:
            return along(self.vector)(noise, weights, amount)
        assert self.target is not None
        return towards(self.target)(noise, weights, amount)


def find_directions(draw: Draw, noise_shape: tuple[int, ...], classes: tuple[str, ...]) -> tuple[Direction, ...]:
    """Find directions: attributes by accuracy, principal ones by what they explain, then classes.

    draw: images (N, C, H, W) uint8 of noise and class weights; about 1,500 of them. The same model gives the same
    directions; none if all its pictures of a class are equal.
    """
    population = draw_population(draw, noise_shape, len(classes), POPULATION, SEED)
    if not population.variance:
        return ()
    return (
        *_attributes(draw, population),
        *_principal(draw, population),
        *_towards_classes(draw, population, classes),
    )


def largest_amount(noise_dim: int) -> float:
    """Return how far noise of this many dimensions may move: it is then as long as 2 in 100 are, at most.

    Lengths of normal noise have mean sqrt(D) and standard deviation sqrt(1/2). A move by a, at a right angle to most
    noise, makes it sqrt(D + a^2); two standard deviations allow a^2 = 2 sqrt(2 D) + 2. Rounded down to halves.
    """
    return _in_halves(sqrt(2 * sqrt(2 * noise_dim) + 2))


def _in_halves(amount: float) -> float:
    return floor(2 * amount) / 2


def along(vector: npt.NDArray[np.float32]) -> Shift:
    """Return a shift of noise along a vector of noise."""
    return lambda noise, weights, amount: (noise + np.float32(amount) * vector, weights)


def towards(target: int) -> Shift:
    """Return a shift of class weights towards one class, at amount 1 to that class alone."""

    def shift(noise: Noise, weights: Weights, amount: float) -> tuple[Noise, Weights]:
        if weights is None:
            raise ValueError("a direction towards a class, but the model has no classes")
        moved = weights * np.float32(1 - amount)
        moved[:, target] += np.float32(amount)
        return noise, moved

    return shift


def _principal(draw: Draw, population: Population) -> Iterator[Direction]:
    for index, effect in enumerate(principal_effects(population), start=1):
        vector = population.to_noise(effect.coordinates)
        value = partial(_along_pattern, effect.pattern, float((population.pixels @ effect.pattern).std()))
        amount, trial = _tried(draw, population, vector, value)
        if _is_offered(trial):
            yield Direction(
                name=f"component {index}",
                kind="principal",
                what=trial.in_words() or "changes the shape in a way that no measured attribute describes",
                low=-amount,
                high=amount,
                effect=trial.effect,
                steady=trial.steady,
                vector=vector,
                share=effect.share,
            )


def _attributes(draw: Draw, population: Population) -> Iterator[Direction]:
    found = []
    for attribute, values in population.attributes.items():
        effect = attribute_effect(population.coordinates, values)
        if effect is None:
            continue
        vector = population.to_noise(effect.coordinates)
        value = partial(_attribute, attribute, population.attribute_stds[attribute])
        amount, trial = _tried(draw, population, vector, value)
        direction = Direction(
            name=attribute.name,
            kind="attribute",
            what=f"from {attribute.less} to {attribute.more}",
            low=-amount,
            high=amount,
            effect=trial.effect,
            steady=trial.steady,
            vector=vector,
            accuracy=effect.accuracy,
        )
        if _is_offered(trial):
            found.append((effect.accuracy, vector, direction))
    kept: list[npt.NDArray[np.float32]] = []
    for _, vector, direction in sorted(found, key=lambda item: -item[0]):
        if all(abs(float((vector * other).sum())) < SAME_COSINE for other in kept):
            kept.append(vector)
            yield direction


def _towards_classes(draw: Draw, population: Population, names: tuple[str, ...]) -> Iterator[Direction]:
    if not 2 <= len(names) <= MAX_CLASSES:
        return
    for target, name in enumerate(names):
        others = spread(np.delete(np.arange(len(names)), target))
        value = partial(_towards_mean, population.class_means, target)
        trial = try_direction(draw, population, towards(target), value, (0.0, 1.0), others)
        yield Direction(
            name=f"towards {name}",
            kind="class",
            what=f"from the picture's own class to {name}",
            low=0.0,
            high=1.0,
            effect=trial.effect,
            steady=trial.steady,
            target=target,
        )


def _tried(draw: Draw, population: Population, vector: npt.NDArray[np.float32], value: Value) -> tuple[float, Trial]:
    """Return the sensible amount of a direction in noise, in both ways, and what it does within it."""
    amount = largest_amount(prod(population.noise_shape))
    trial = try_direction(draw, population, along(vector), value, (-amount, amount))
    if trial.change > MAX_CHANGE:
        amount = max(0.5, _in_halves(amount * MAX_CHANGE / trial.change))
        trial = try_direction(draw, population, along(vector), value, (-amount, amount))
    while trial.variety < LEAST_VARIETY and amount > 1.0:
        amount = _in_halves(amount * SHORTER)
        trial = try_direction(draw, population, along(vector), value, (-amount, amount))
    return amount, trial


def _is_offered(trial: Trial) -> bool:
    return trial.effect >= LEAST_EFFECT and trial.change >= LEAST_CHANGE and trial.steady >= LEAST_STEADY


def _along_pattern(pattern: Float64, std: float, images: Pixels, _labels: Labels) -> Float64:
    found: Float64 = images.reshape(len(images), -1) @ pattern / std
    return found


def _attribute(attribute: Attribute, std: float, images: Pixels, _labels: Labels) -> Float64:
    return measure(images)[attribute] / std


def _towards_mean(means: Float64, target: int, images: Pixels, labels: Labels) -> Float64:
    """How far images are on the way from the mean of their own class to that of another."""
    away = means[target] - means[labels]
    found: Float64 = ((images.reshape(len(images), -1) - means[labels]) * away).sum(axis=1) / (away**2).sum(axis=1)
    return found
