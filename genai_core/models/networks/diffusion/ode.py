"""ODE solvers for images, with steps at given times."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]  # noisy images (N, C, H, W) and noise level -> expected clean images
Slope = Callable[[Tensor, float], Tensor]  # images (N, C, H, W) and time -> their derivative with respect to time


def euler(slope: Slope, images: Tensor, times: Sequence[float]) -> Tensor:
    """Integrate images (N, C, H, W) from the first of `times` to the last, one `slope` call per step. First order."""
    for time, following in pairwise(times):
        images = images + (following - time) * slope(images, time)
    return images


def heun(slope: Slope, images: Tensor, times: Sequence[float]) -> Tensor:
    """Integrate as euler does, with the mean of the slopes at both ends of a step. Second order.

    Makes 2 n - 1 calls for n steps: the last step, to time 0, is an Euler step, because the slope may be undefined
    there (Karras et al. 2022, algorithm 1).
    """
    for time, following in pairwise(times):
        change = slope(images, time)
        moved = images + (following - time) * change
        if following > 0:
            moved = images + (following - time) * (change + slope(moved, following)) / 2
        images = moved
    return images


def multistep(denoise: Denoise, images: Tensor, levels: Sequence[float]) -> Tensor:
    """Integrate images (N, C, H, W) from the first noise level to the last; one call of `denoise` per step.

    Second order, because it reuses the previous step's estimate: DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095,
    algorithm 2), for images with noise added and not scaled. The first step and the last one, to 0, are first order.
    """
    earlier, earlier_step = None, 0.0
    for level, following in pairwise(levels):
        clean = target = denoise(images, level)
        step = math.log(level / following) if following > 0 else 0.0
        if earlier is not None and following > 0:
            target = clean + (clean - earlier) * (step / (2 * earlier_step))
        images = target + (following / level) * (images - target)
        earlier, earlier_step = clean, step
    return images


def few_step(denoise: Denoise, images: Tensor, noise: Tensor, levels: Sequence[float]) -> Tensor:
    """Draw with a distilled denoiser: a whole image in each call, to which the same noise is added at the next level.

    images (N, C, H, W): with the first level's noise. Always the same noise, so that the seed alone determines the
    image, and all numbers of steps draw related ones. The last level is 0.
    """
    for level, following in pairwise(levels):
        clean = denoise(images, level)
        images = clean + following * noise
    return images
