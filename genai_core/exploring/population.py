"""Pictures drawn from a model with the noise they were drawn from, in which directions are searched."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from genai_core.exploring.attributes import Attribute, Float64, Pixels, measure

Noise = npt.NDArray[np.float32]  # (N, *noise_shape), standard normal
Weights = npt.NDArray[np.float32] | None  # (N, classes), each row sums to 1; None for a model without classes
Draw = Callable[[Noise, Weights], Pixels]

MAX_COORDINATES = 64  # of spatial noise


@dataclass(frozen=True)
class Population:
    """Drawn pictures, as deviations from the means of their classes.

    coordinates: (N, K) of the noise in `basis` (K, D): D values of noise, orthonormal rows. pixels: (N, P).
    class_means: (classes, P), or (1, P) without classes. attributes: (N,) in standard deviations, only of those that
    vary.
    """

    noise_shape: tuple[int, ...]
    classes: int  # 0 without
    basis: Float64
    coordinates: Float64
    pixels: Float64
    class_means: Float64
    attributes: dict[Attribute, Float64]
    attribute_stds: dict[Attribute, float]

    @property
    def variance(self) -> float:
        """Mean squared distance of a picture to its class's mean, over all pixels."""
        return float((self.pixels**2).sum(axis=1).mean())

    def to_noise(self, vector: Float64) -> npt.NDArray[np.float32]:
        """Return a vector (K,) as a unit vector of noise, (*noise_shape)."""
        noise = vector @ self.basis
        return (noise / np.linalg.norm(noise)).reshape(self.noise_shape).astype(np.float32)


def draw_population(draw: Draw, noise_shape: tuple[int, ...], classes: int, count: int, seed: int) -> Population:
    """Draw `count` pictures, of all classes in turn."""
    noise = standard_noise(count, noise_shape, seed)
    labels = np.arange(count) % max(classes, 1)
    images = draw(noise, one_hot(labels, classes))
    pixels = images.reshape(count, -1).astype(np.float64)
    means = np.stack([pixels[labels == label].mean(axis=0) for label in range(max(classes, 1))])
    pixels -= means[labels]
    basis = coarse_basis(noise_shape)
    attributes, stds = {}, {}
    for attribute, values in measure(images).items():
        deviations = values - np.stack([values[labels == label].mean() for label in range(max(classes, 1))])[labels]
        stds[attribute] = float(deviations.std())
        if stds[attribute] > 1e-6:
            attributes[attribute] = deviations / stds[attribute]
    coordinates = noise.reshape(count, -1).astype(np.float64) @ basis.T
    return Population(noise_shape, classes, basis, coordinates, pixels, means, attributes, stds)


def standard_noise(count: int, noise_shape: tuple[int, ...], seed: int) -> Noise:
    """Return standard normal noise (count, *noise_shape) of one seed."""
    return np.random.default_rng(seed).standard_normal((count, *noise_shape), dtype=np.float32)


def one_hot(labels: npt.NDArray[np.int64], classes: int) -> Weights:
    """Return weights (N, classes) of labels (N,); None without classes."""
    return np.eye(classes, dtype=np.float32)[labels] if classes else None


def coarse_basis(noise_shape: tuple[int, ...]) -> Float64:
    """Return orthonormal rows (K, D) of noise: for spatial noise (C, H, W) the lowest frequencies, else all of it.

    The frequencies are those of the cosine transform, the same in both axes, at most MAX_COORDINATES in all channels.
    """
    dim = prod(noise_shape)
    if len(noise_shape) != 3 or dim <= MAX_COORDINATES:
        return np.eye(dim)
    channels, height, width = noise_shape
    kept = max(1, int((MAX_COORDINATES / channels) ** 0.5))
    down, across = _cosines(height, kept), _cosines(width, kept)
    plane = np.einsum("ay,bx->abyx", down, across).reshape(-1, height * width)
    return np.kron(np.eye(channels), plane)


def _cosines(length: int, count: int) -> Float64:
    """Return the first vectors (count, length) of the orthonormal cosine transform, DCT-II."""
    frequency, place = np.arange(min(count, length))[:, None], np.arange(length)[None]
    waves = np.cos(np.pi * frequency * (place + 0.5) / length)
    found: Float64 = waves / np.linalg.norm(waves, axis=1, keepdims=True)
    return found
