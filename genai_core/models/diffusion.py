"""Diffusion models with one of two objectives on the same network.

edm: preconditioning, weighting, noise levels and sampler of Karras et al. 2022 (arXiv 2206.00364). flow: flow
matching on a linear path (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003) with logit-normal
times (Esser et al. 2024, arXiv 2403.03206).

Up to scale, a flow's path from image to noise, (1 - t) x / s + t n for images of standard deviation s, is a diffusion
path with noise level sigma = s t / (1 - t). Both are therefore denoisers of x + sigma n. They differ in the scaling of
the network's input, output and loss, and in the time variable of sampling. Logit-normal t is log-normal sigma / s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import DiffusionRecipe, DiffusionSampling, SamplingConfig
from genai_core.config.models import NO_GUIDANCE
from genai_core.models.networks.diffusion.augment import PARAMETERS, augment
from genai_core.models.networks.diffusion.ode import euler, heun, multistep
from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Loss,
    Part,
    check_labels,
    own_sampling,
    seeded_noise,
    to_uint8,
)

_RHO = 7.0  # exponent of the sampler's noise levels (Karras et al. 2022, table 1)
_TAIL = 1e-9  # tails of the normal distribution that are cut off, because they would give infinite noise levels


def build(config: DiffusionRecipe, shape: ImageShape) -> "Diffusion":
    """Build a diffusion model with random weights."""
    return Diffusion(config, shape)


class Diffusion(GenerativeModel):
    """A denoiser for every noise level; sampling follows its probability flow from noise to a clean image."""

    family = "diffusion"
    phases = ("denoiser",)
    preview_sampling: DiffusionSampling = DiffusionSampling(
        sampler="heun",
        steps=12,
        sigma_min=0.002,
        sigma_max=80.0,
        noise_levels=None,
        guidance_scale=1.5,
        guidance_interval=None,
    )

    def __init__(self, config: DiffusionRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        self.classes = len(shape.classes)
        if not config.objective.label_dropout:
            self.preview_sampling = self.preview_sampling.model_copy(update={"guidance_scale": NO_GUIDANCE})
        network = UNet(
            shape.image_size,
            shape.channels,
            self.classes,
            config.network.width,
            config.network.depth,
            augmentations=PARAMETERS if config.objective.augment_share else 0,
        )
        self.network = network.to(memory_format=torch.channels_last)

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:  # noqa: ARG002 - there is one
        return list(self.network.parameters())

    def sampled_network(self) -> nn.Module:
        return self.network

    def loss(
        self,
        phase: str,  # noqa: ARG002 - there is one
        images: Tensor,
        labels: Tensor | None,
        generator: Generator,
        part: Part | None = None,
    ) -> Loss:
        """The network's mean squared error, its target scaled to unit variance (Karras et al. 2022, eq. 8)."""
        count, objective = len(images), self.objective
        log_sigma = (
            self._spread_normal(part or Part(0, count, count), generator) * objective.log_sigma_std
            + objective.log_sigma_mean
        )
        sigma = log_sigma.exp().to(images.device)
        noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)
        if labels is not None:
            chance = torch.rand(count, generator=generator, device=generator.device)
            hidden = (chance < objective.label_dropout).to(images.device)
            labels = torch.where(hidden, self.classes, labels)
        parameters = None
        if objective.augment_share:
            augmented = augment(images, objective.augment, objective.augment_share, generator)
            images, parameters = augmented.images, augmented.parameters
        denoised = self.denoise(images + column(sigma) * noise, sigma, labels, parameters)
        # The factor of the network's error in the denoiser's error.
        scale = self.preconditioning(sigma).output
        value = (((denoised - images) / column(scale)) ** 2).mean()
        return Loss(value, {"loss": value.detach()})

    @staticmethod
    def _spread_normal(part: Part, generator: Generator) -> Tensor:
        """Standard normal numbers, one per image of the part, stratified: each in its own equally likely interval.

        Every batch thus covers all noise levels, and its gradient varies less (Kingma et al. 2021, arXiv 2107.00630,
        appendix I.1). Each number by itself is still normally distributed.
        """
        device = generator.device
        interval = torch.randperm(part.whole, generator=generator, device=device)[part.first : part.end]
        within = torch.rand(len(interval), generator=generator, dtype=torch.float64, device=device)
        quantile = (interval + within) / part.whole
        normal: Tensor = torch.special.ndtri(quantile.clamp(_TAIL, 1.0 - _TAIL)).float()
        return normal

    def preconditioning(self, sigma: Tensor) -> "Preconditioning":
        """Return the scales of this model's objective at noise levels sigma (B,)."""
        scales = flow_preconditioning if self.objective.kind == "flow" else preconditioning
        return scales(sigma, self.objective.sigma_data)

    def denoise(
        self, images: Tensor, sigma: Tensor, labels: Tensor | None, augmentation: Tensor | None = None
    ) -> Tensor:
        """Estimate the clean images from images (B, C, H, W) with noise of standard deviation sigma (B,).

        labels (B,) int64, the number of classes for "no label"; None for an unconditional model. augmentation (B, 4):
        how the clean images were augmented, None for not at all (Karras et al. 2022, eq. 7).
        """
        scale = self.preconditioning(sigma)
        inputs = (column(scale.input) * images).contiguous(memory_format=torch.channels_last)
        output = self.network(inputs, scale.noise, labels, augmentation).float()
        denoised: Tensor = column(scale.skip) * images + column(scale.output) * output
        return denoised

    @torch.no_grad()
    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: SamplingConfig) -> Tensor:
        """Sample as the protocol says. Also raises ValueError for guidance of a model trained without label dropout."""
        options = own_sampling(sampling, DiffusionSampling)
        check_labels(labels, self.shape, len(seeds))
        if labels is not None and options.guidance_scale != NO_GUIDANCE and not self.objective.label_dropout:
            raise ValueError(
                f"sampling.guidance_scale: got {options.guidance_scale}; allowed: {NO_GUIDANCE}, because this model "
                "was trained with objective.label_dropout 0 and cannot generate images without a label"
            )
        device = next(self.network.parameters()).device
        noise = seeded_noise(seeds, self.shape.chw).to(device)
        labels = None if labels is None else labels.to(device)

        levels = noise_levels(options.steps, options.sigma_min, options.sigma_max)
        if options.noise_levels is not None:
            levels = [*options.noise_levels, 0.0]
        if options.sampler == "multistep":
            # Works with the denoiser of either objective, because it steps in noise levels.
            return to_uint8(
                multistep(
                    lambda images, sigma: self._guided(images, sigma, labels, options),
                    noise * levels[0],
                    levels,
                )
            )
        solve = heun if options.sampler == "heun" else euler
        if self.objective.kind == "edm":

            def slope(images: Tensor, sigma: float) -> Tensor:
                return (images - self._guided(images, sigma, labels, options)) / sigma

            return to_uint8(solve(slope, noise * levels[0], levels))

        std = self.objective.sigma_data
        times = [sigma / (sigma + std) for sigma in levels]

        def velocity(images: Tensor, time: float) -> Tensor:
            sigma = std * time / (1 - time)
            clean = self._guided(images * (std + sigma), sigma, labels, options) / std
            return (images - clean) / time

        # At the first time the images are almost pure noise, as with edm.
        return to_uint8(solve(velocity, noise * times[0], times) * std)

    def _guided(self, images: Tensor, sigma: float, labels: Tensor | None, sampling: DiffusionSampling) -> Tensor:
        """Classifier-free guidance (Ho and Salimans 2022): move away from the unconditional estimate.

        Outside `guidance_interval`, use only the conditional estimate: at high noise guidance reduces variety, at low
        noise it changes little (Kynkäänniemi et al. 2024, arXiv 2404.07724), and this saves one network call.
        """
        sigmas = images.new_full((len(images),), sigma)
        conditional = self.denoise(images, sigmas, labels)
        scale, interval = sampling.guidance_scale, sampling.guidance_interval
        outside = interval is not None and not interval[0] <= sigma <= interval[1]
        if labels is None or scale == NO_GUIDANCE or outside:
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
    """Scales that give the network's input and target unit variance at each noise level sigma (B,)."""
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / variance,
        output=sigma * sigma_data / variance.sqrt(),
        input=1 / variance.sqrt(),
        noise=sigma.log() / 4,
    )


def noise_levels(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Return the sampler's noise levels: `steps` from sigma_max to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    top, bottom = sigma_max ** (1 / _RHO), sigma_min ** (1 / _RHO)
    shares = [step / max(steps - 1, 1) for step in range(steps)]
    return [(top + share * (bottom - top)) ** _RHO for share in shares] + [0.0]


def flow_preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """Scales with which the network predicts the path's velocity n - x / sigma_data at noise levels sigma (B,).

    With t = sigma / (sigma + sigma_data), the path's image is (x + sigma n) / (sigma + sigma_data), and x / sigma_data
    is that image minus t times the velocity.
    """
    total = sigma + sigma_data
    return Preconditioning(
        skip=sigma_data / total,
        output=-sigma * sigma_data / total,
        input=1 / total,
        noise=(sigma / sigma_data).log() / 4,
    )


def column(values: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1), to scale images."""
    return values[:, None, None, None]
