"""The probability flow of a denoiser: from noise to clean images, and back.

With the objective edm, time is the noise level sigma (Karras et al. 2022, arXiv 2206.00364). With flow, it is
t = sigma / (sigma + s) for images of standard deviation s, in which the flow is nearly straight, and images are scaled
by 1 / (sigma + s). `genai_core/models/diffusion.py` says how the two are related.
"""

from collections.abc import Sequence

from torch import Tensor

from genai_core.config import DiffusionSampling
from genai_core.config.models import DiffusionObjective
from genai_core.models.networks.diffusion.levels import noise_levels
from genai_core.models.networks.diffusion.ode import Denoise, Slope, euler, few_step, heun, multistep

_ENCODE_STEPS = 12  # at least, of the reversed flow


def clean_images(
    denoise: Denoise,
    noise: Tensor,
    base: Tensor | None,
    levels: Sequence[float],
    sampler: str,
    objective: DiffusionObjective,
) -> Tensor:
    """Follow the flow from base (0 for None) plus noise, through the noise levels, to clean images, all (N, C, H, W).

    noise: standard normal. The last level is 0.
    """
    if sampler == "few_step":
        return few_step(denoise, _plus(noise * levels[0], base, 1.0), noise, levels)
    if sampler == "multistep":
        # Works with the denoiser of either objective, because it steps in noise levels.
        return multistep(denoise, _plus(noise * levels[0], base, 1.0), levels)
    solve = heun if sampler == "heun" else euler
    if objective.kind == "edm":

        def slope(images: Tensor, sigma: float) -> Tensor:
            return (images - denoise(images, sigma)) / sigma

        return solve(slope, _plus(noise * levels[0], base, 1.0), levels)

    std = objective.sigma_data
    times = _times(levels, std)
    # At the first time the images are almost pure noise, as with edm.
    return solve(_velocity(denoise, std), _plus(noise * times[0], base, 1 / (std + levels[0])), times) * std


def noise_of_images(
    denoise: Denoise, images: Tensor, forward: Sequence[float], options: DiffusionSampling, sigma_data: float
) -> Tensor:
    """Return the noise that the flow leads to clean images (N, C, H, W), by the flow in reverse.

    In Heun steps through twice as many levels as sampling has, in the time of flow matching for both objectives
    (Song et al. 2021, arXiv 2011.13456). The first step leaves the smallest level, where image and noisy image are the
    same. forward: the noise levels of sampling.
    """
    most = forward[0]
    smallest = min(options.sigma_min, most / 2)
    levels = noise_levels(max(2 * options.steps, _ENCODE_STEPS), smallest, most)[-2::-1]
    times = _times(levels, sigma_data)
    return heun(_velocity(denoise, sigma_data), images / (sigma_data + levels[0]), times) / times[-1]


def _times(levels: Sequence[float], std: float) -> list[float]:
    return [sigma / (sigma + std) for sigma in levels]


def _velocity(denoise: Denoise, std: float) -> Slope:
    """The slope of the flow in the time of flow matching, for scaled images."""

    def velocity(images: Tensor, time: float) -> Tensor:
        sigma = std * time / (1 - time)
        clean = denoise(images * (std + sigma), sigma) / std
        return (images - clean) / time

    return velocity


def _plus(noise: Tensor, base: Tensor | None, scale: float) -> Tensor:
    return noise if base is None else noise + base * scale
