"""Diffusion: EDM preconditioning, weighting and noise levels, Heun sampler (Karras et al. 2022, arXiv 2206.00364)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import DiffusionRecipe, DiffusionSampling
from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.protocol import GenerativeModel, ImageShape, Loss, check_labels, seeded_noise, to_uint8

_RHO = 7.0  # of the sampler's noise levels (Karras et al. 2022, table 1)


def build(config: DiffusionRecipe, shape: ImageShape) -> "Diffusion":
    """A diffusion model with fresh weights."""
    return Diffusion(config, shape)


class Diffusion(GenerativeModel):
    """A denoiser for every noise level; images are drawn by following its probability flow from noise to none."""

    family = "diffusion"
    phases = ("denoiser",)
    preview_sampling = DiffusionSampling(steps=12, sigma_min=0.002, sigma_max=80.0, guidance_scale=1.5)

    def __init__(self, config: DiffusionRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        self.classes = len(shape.classes)
        network = UNet(shape.image_size, shape.channels, self.classes, config.network.width, config.network.depth)
        self.network = network.to(memory_format=torch.channels_last)

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:  # noqa: ARG002 - there is one
        return list(self.network.parameters())

    def sampled_network(self) -> nn.Module:
        return self.network

    def loss(self, phase: str, images: Tensor, labels: Tensor | None, generator: Generator) -> Loss:  # noqa: ARG002
        """Weighted denoising error at log-normal noise levels (Karras et al. 2022, eq. 2 and table 1)."""
        count, objective = len(images), self.objective
        log_sigma = torch.randn(count, generator=generator) * objective.log_sigma_std + objective.log_sigma_mean
        sigma = log_sigma.exp().to(images.device)
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        if labels is not None:
            hidden = (torch.rand(count, generator=generator) < objective.label_dropout).to(images.device)
            labels = torch.where(hidden, self.classes, labels)
        denoised = self.denoise(images + column(sigma) * noise, sigma, labels)
        weight = (sigma**2 + objective.sigma_data**2) / (sigma * objective.sigma_data) ** 2
        value = (column(weight) * (denoised - images) ** 2).mean()
        return Loss(value, {"loss": value.detach()})

    def denoise(self, images: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The expected clean images, from images (B, C, H, W) with noise of standard deviation sigma (B,).

        labels (B,) int64, the number of classes for "no label"; None for an unconditional model (Karras et al. 2022,
        eq. 7).
        """
        scale = preconditioning(sigma, self.objective.sigma_data)
        inputs = (column(scale.input) * images).contiguous(memory_format=torch.channels_last)
        output = self.network(inputs, scale.noise, labels).float()
        denoised: Tensor = column(scale.skip) * images + column(scale.output) * output
        return denoised

    @torch.no_grad()
    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: DiffusionSampling) -> Tensor:
        check_labels(labels, self.shape, len(seeds))
        device = next(self.network.parameters()).device
        size = self.shape.image_size
        noise = seeded_noise(seeds, (self.shape.channels, size, size)).to(device)
        labels = None if labels is None else labels.to(device)

        def denoise(images: Tensor, sigma: float) -> Tensor:
            return self._guided(images, sigma, labels, sampling.guidance_scale)

        return to_uint8(heun(denoise, noise, noise_levels(sampling.steps, sampling.sigma_min, sampling.sigma_max)))

    def _guided(self, images: Tensor, sigma: float, labels: Tensor | None, scale: float) -> Tensor:
        """Classifier-free guidance (Ho and Salimans 2022): away from the unconditional estimate by `scale`."""
        sigmas = images.new_full((len(images),), sigma)
        conditional = self.denoise(images, sigmas, labels)
        if labels is None or scale == 1.0:
            return conditional
        unconditional = self.denoise(images, sigmas, torch.full_like(labels, self.classes))
        return unconditional + scale * (conditional - unconditional)


@dataclass(frozen=True)
class Preconditioning:
    """The four scales of Karras et al. 2022, table 1, each (B,)."""

    skip: Tensor
    output: Tensor
    input: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """The scales under which the network's input and target have unit variance at each noise level sigma (B,)."""
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / variance,
        output=sigma * sigma_data / variance.sqrt(),
        input=1 / variance.sqrt(),
        noise=sigma.log() / 4,
    )


def noise_levels(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """The sampler's noise levels: `steps` from sigma_max down to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    top, bottom = sigma_max ** (1 / _RHO), sigma_min ** (1 / _RHO)
    shares = [step / max(steps - 1, 1) for step in range(steps)]
    return [(top + share * (bottom - top)) ** _RHO for share in shares] + [0.0]


def heun(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, levels: Sequence[float]) -> Tensor:
    """Follow the probability flow from noise (N, C, H, W), of standard deviation 1, to images.

    denoise(images, sigma) -> images. Takes 2 n - 1 calls for n steps: the last step, to sigma 0, is Euler's (Karras et
    al. 2022, algorithm 1).
    """
    images = noise * levels[0]
    for sigma, following in pairwise(levels):
        slope = (images - denoise(images, sigma)) / sigma
        moved = images + (following - sigma) * slope
        if following > 0:
            slope_there = (moved - denoise(moved, following)) / following
            moved = images + (following - sigma) * (slope + slope_there) / 2
        images = moved
    return images


def column(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to scale images with."""
    return values[:, None, None, None]
