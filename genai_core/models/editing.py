"""What sampling may be given beyond noise and classes: images to begin from, and someone who watches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Start:
    """Images to begin from.

    images: (N, C, H, W) float in [-1, 1]. strength: above 0, the share of the way from the images to new ones; 1
    ignores the images except where the mask keeps them. mask: (N, 1, H, W) bool, True where to redraw; None: all. The
    result outside the mask is near the images, not equal to them. noise: (N, *noise_shape), the noise that gives about
    these images, from `encode`; families that need it raise ValueError without it.
    """

    images: Tensor
    strength: float
    mask: Tensor | None = None
    noise: Tensor | None = None


class Watch(Protocol):
    """Called after each step of sampling; an error that it raises ends the sampling."""

    def __call__(self, done: int, steps: int, images: Callable[[], Tensor]) -> None:
        """`done` of `steps` are over; images() computes how the images look so far, (N, C, H, W) uint8."""
