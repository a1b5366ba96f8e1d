"""The description of one image to draw, and whether it fits a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genai_core import GenaiError
from genai_core.models.protocol import WEIGHTS_TOLERANCE
from genai_core.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from genai_core.model import Model


class DrawingError(GenaiError, ValueError):
    """A drawing does not fit the model; the message says which value."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """One image to draw.

    seed: 0 to 2**32 - 1. weights: one per class, adding up to 1; a single class has weight 1; None without classes.
    noise: float32 of the model's noise_shape, standard normal, instead of the seed's. start: image (C, H, W) uint8 to
    begin from. strength: 0 keeps the start image, 1 ignores it. mask: (H, W) bool, True where to redraw; elsewhere the
    start image stays, pixel for pixel. start_noise: the start image's noise, from `encode`, which is otherwise found
    again each time; diffusion models do not need it.
    """

    seed: int
    weights: tuple[float, ...] | None = None
    noise: npt.NDArray[np.float32] | None = None
    start: npt.NDArray[np.uint8] | None = None
    strength: float = 1.0
    mask: npt.NDArray[np.bool_] | None = None
    start_noise: npt.NDArray[np.float32] | None = None

    @property
    def uses_start(self) -> bool:
        """Whether the start image matters: at strength 1, only a mask keeps something of it."""
        return self.start is not None and (self.strength < 1 or self.mask is not None)


def one_hot(label: int | None, classes: int) -> tuple[float, ...] | None:
    """Return the weights of a single class; None for None, without classes."""
    return None if label is None else tuple(float(label == index) for index in range(classes))


def check_drawing(model: "Model", drawing: Drawing) -> None:
    """Raise DrawingError when the drawing does not fit the model."""
    channels, height, width = model.shape
    if not 0 <= drawing.seed <= LARGEST_SEED:
        raise DrawingError(f"seed: expected 0 to 2**32 - 1, got {drawing.seed}")
    _check_weights(model, drawing.weights)
    for name, noise in (("noise", drawing.noise), ("start_noise", drawing.start_noise)):
        expected = model.network.noise_shape
        if noise is not None and (noise.shape != expected or not np.isfinite(noise).all()):
            raise DrawingError(f"{name}: expected finite numbers of shape {expected}, got shape {noise.shape}")
    if not 0 <= drawing.strength <= 1:
        raise DrawingError(f"strength: expected 0 to 1, got {drawing.strength}")
    if drawing.start is None:
        if drawing.mask is not None:
            raise DrawingError("mask: expected a start image with it, got none")
        return
    if drawing.start.shape != model.shape or drawing.start.dtype != np.uint8:
        raise DrawingError(
            f"start: expected an image of {channels} channels and {height} x {width} pixels (height x width), uint8, "
            f"got {drawing.start.shape}, {drawing.start.dtype}"
        )
    if drawing.mask is not None and drawing.mask.shape != (height, width):
        raise DrawingError(
            f"mask: expected {height} x {width} pixels (height x width), as the start image, got {drawing.mask.shape}"
        )


def _check_weights(model: "Model", weights: tuple[float, ...] | None) -> None:
    names = model.classes
    if (weights is None) != (not names):
        expected = f"one per class of {', '.join(names)}" if names else "none, because the model has no classes"
        raise DrawingError(f"weights: expected {expected}, got {'none' if weights is None else len(weights)}")
    if weights is None:
        return
    if len(weights) != len(names) or not all(weight >= 0 for weight in weights):
        raise DrawingError(f"weights: expected {len(names)} of at least 0, one per class, got {[*weights]}")
    if abs(sum(weights) - 1) > WEIGHTS_TOLERANCE:
        raise DrawingError(f"weights: expected a sum of 1, got {sum(weights):g}")
