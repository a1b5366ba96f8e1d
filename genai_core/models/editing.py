"""What sampling may be given beyond noise and classes: images to begin from, and a progress callback.

Also the noise that gives an image, for families whose images are a smooth function of their noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

Generate = Callable[[Tensor], Tensor]  # noise (N, D) -> images (N, C, H, W), differentiable

_STEPS = 60
_MATCH_STEPS = 30
_LEARNING_RATE = 0.1
_PIXEL_STD = 0.1  # how far, in [-1, 1], a pixel may be from the image: less fits closer, with less likely noise
_SMALLEST_SINE = 1e-3  # of the angle of an arc: below it, rounding dominates the quotient


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


def slerp(begins: Tensor, ends: Tensor, share: float) -> Tensor:
    """Return points (B, dim) on the arcs from begins to ends, (B, dim) each, at `share` of the angle.

    Spherical interpolation (Shoemake 1985). A straight line between two samples of a standard normal distribution in
    many dimensions passes closer to 0 than any sample lies (White 2016, arXiv 1609.04468). For parallel or opposite
    vectors there is no unique arc, and the line is straight.
    """
    cosine = functional.cosine_similarity(begins, ends, dim=1).clamp(-1.0, 1.0)
    angle = cosine.arccos()[:, None]
    arc = (((1 - share) * angle).sin() * begins + (share * angle).sin() * ends) / angle.sin()
    return torch.where(angle.sin() > _SMALLEST_SINE, arc, torch.lerp(begins, ends, share))


def nearest_noise(generate: Generate, images: Tensor, begin: Tensor, kept: Tensor | None = None) -> Tensor:
    """Return noise (N, D) that gives images near `images` (N, C, H, W) where `kept` (N, 1, H, W) bool is True.

    Maximises the posterior density: squared errors of pixels with a small standard deviation, and the noise's own
    standard normal density, by Adam for a fixed number of steps from `begin` (N, D). With the optimisation of Abdal et
    al. 2019 (Image2StyleGAN, arXiv 1904.03189), but without features of another network. kept None: everywhere.
    """
    steps = _STEPS if kept is None else _MATCH_STEPS
    with torch.enable_grad():
        noise = begin.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([noise], lr=_LEARNING_RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            errors = (generate(noise).float() - images).square()
            if kept is not None:
                errors = errors * kept
            # Summed over images: each one's gradient depends on itself alone.
            loss = errors.sum() / (2 * _PIXEL_STD**2) + noise.square().sum() / 2
            (noise.grad,) = torch.autograd.grad(loss, noise)
            optimizer.step()
    return noise.detach()


def noise_of_start(generate: Generate, noise: Tensor, start: Start | None) -> Tensor:
    """Return the noise (N, D) with which images begin from `start`: on the arc from the start's noise to `noise`.

    With a mask, the point on the arc then moves until the kept part of the image matches. Raises ValueError without
    the start's noise.
    """
    if start is None:
        return noise
    if start.noise is None:
        raise ValueError("start.noise: expected the noise of the start images, from encode, got none")
    between = slerp(start.noise, noise, start.strength)
    if start.mask is None:
        return between
    return nearest_noise(generate, start.images, between, ~start.mask)
