"""Solvers of an ordinary differential equation for images, by steps of given times."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

Slope = Callable[[Tensor, float], Tensor]  # images (N, C, H, W) and time -> how they change with time


def euler(slope: Slope, images: Tensor, times: Sequence[float]) -> Tensor:
    """From images (N, C, H, W) at the first of `times` to the last; one call of `slope` a step. Error of first order."""
    for time, following in pairwise(times):
        images = images + (following - time) * slope(images, time)
    return images


def heun(slope: Slope, images: Tensor, times: Sequence[float]) -> Tensor:
    """As euler, with the mean of the slopes at both ends of a step. Error of second order.

    2 n - 1 calls for n steps: the last step, to time 0, is Euler's, as the slope there may not be defined (Karras et
    al. 2022, algorithm 1).
    """
    for time, following in pairwise(times):
        change = slope(images, time)
        moved = images + (following - time) * change
        if following > 0:
            moved = images + (following - time) * (change + slope(moved, following)) / 2
        images = moved
    return images
