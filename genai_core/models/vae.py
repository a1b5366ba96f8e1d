"""VAE: a Gaussian likelihood with a learned variance, and a learned prior.

The likelihood of a channel's pixels is N(decoded, s^2), with one s per channel. At each step s is the most likely value
for the batch, the root of the mean squared error (sigma-VAE, Rybkin et al. 2021, arXiv 2006.13202, eq. 8). This removes
the need to weight reconstruction against KL. Samples are the likelihood's mean.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import SamplingConfig, VaeRecipe, VaeSampling
from genai_core.models.editing import Start, Watch, nearest_noise, noise_of_start, slerp
from genai_core.models.networks.vae.autoencoder import Autoencoder, Posterior
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Loss,
    Part,
    check_classes,
    own_sampling,
    to_uint8,
)

# A standard deviation below half a grey level of 255 is rounding. Without a minimum, flat images have infinite
# likelihood.
_SMALLEST_STD = 1 / 255
_PICTURE_COLUMNS = 10


def build(config: VaeRecipe, shape: ImageShape) -> "Vae":
    """Build a VAE with random weights."""
    return Vae(config, shape)


class Vae(GenerativeModel):
    """An encoder from images to a Gaussian over latents, a prior of the latents, and a decoder back to images."""

    family = "vae"
    phases = ("autoencoder",)
    needs_batch_mean = True
    preview_sampling = VaeSampling(temperature=1.0)

    images_seen: Tensor

    def __init__(self, config: VaeRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        network = Autoencoder(
            shape.image_size,
            shape.channels,
            len(shape.classes),
            config.network.width,
            config.network.depth,
            config.network.latent_dim,
            config.network.flow_layers,
        )
        self.network = network.to(memory_format=torch.channels_last)
        # A buffer, so that a resumed or fine-tuned model continues with the same KL weight.
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:  # noqa: ARG002 - there is one
        return list(self.network.parameters())

    def sampled_network(self) -> nn.Module:
        """Includes the encoder, so that reconstructions use the averaged weights too."""
        return self.network

    def loss(
        self,
        phase: str,  # noqa: ARG002 - there is one
        images: Tensor,
        labels: Tensor | None,
        generator: Generator,
        part: Part | None = None,
    ) -> Loss:
        """Negative evidence lower bound in nats per pixel value; the KL weight rises over kl_warmup_images."""
        noise = torch.randn((len(images), self.network.latent_dim), generator=generator, device=generator.device)
        noise = noise.to(images.device)
        condition = self.network.condition(labels, len(images))
        posterior = self.network.encoder(images.contiguous(memory_format=torch.channels_last), condition)
        latents = posterior.sample(noise)
        prior_log_density = self.network.prior.log_density(latents, condition)
        divergence = (posterior_log_density(posterior, noise) - prior_log_density).mean()
        decoded = self.network.decoder(latents, condition)
        std, misfit = _likelihood(images, decoded, part)
        weight = self._kl_weight()
        value = (std.log() + misfit + 0.5 * math.log(2 * math.pi)).mean() + weight * divergence / images[0].numel()
        figures = {"loss": value, "kl": divergence, "output_std": std.mean()}
        return Loss(value, {name: figure.detach() for name, figure in figures.items()})

    def end_step(self, batch_images: int, figures: Mapping[str, float]) -> None:  # noqa: ARG002
        self.images_seen += batch_images

    def _kl_weight(self) -> Tensor | float:
        warmup = self.objective.kl_warmup_images
        return (self.images_seen / warmup).clamp(max=1.0) if warmup else 1.0

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.network.latent_dim,)

    @torch.no_grad()
    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,  # noqa: ARG002 - there is one evaluation
    ) -> Tensor:
        options = own_sampling(sampling, VaeSampling)
        check_classes(classes, self.shape, len(noise))
        device = next(self.network.parameters()).device
        classes = None if classes is None else classes.to(device)

        def generate(noise: Tensor) -> Tensor:
            images: Tensor = self.network(noise * options.temperature, classes)
            return images

        return to_uint8(generate(noise_of_start(generate, noise.to(device), start)))

    def encode(
        self,
        images: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        begin: Tensor,
    ) -> Tensor:
        options = own_sampling(sampling, VaeSampling)
        check_classes(classes, self.shape, len(images))
        with torch.no_grad():
            condition = self.network.condition(classes, len(images))
            means = self.network.encoder(images.contiguous(memory_format=torch.channels_last), condition).mean
            begin, _ = self.network.prior.to_noise(means, condition)
        return nearest_noise(
            lambda noise: self.network(noise * options.temperature, classes), images, begin / options.temperature
        )

    @torch.no_grad()
    def pictures(self, images: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        """Return reconstructions (images above their decoded versions) and interpolations (rows between two images).

        Interpolations follow an arc in the prior's noise in equal steps, where the points between are as likely as the
        ends; the class is that of the first image.
        """
        images = images[: 2 * _PICTURE_COLUMNS]
        labels = None if labels is None else labels[: len(images)]
        condition = self.network.condition(labels, len(images))
        means = self.network.encoder(images, condition).mean
        decoded = self.network.decoder(means, condition)
        count = min(_PICTURE_COLUMNS, len(images))
        first = labels[:-1:2] if labels is not None else None
        begins, ends = means[:-1:2], means[1::2]
        begin_condition = self.network.condition(first, len(begins))
        begins, _ = self.network.prior.to_noise(begins, begin_condition)
        ends, _ = self.network.prior.to_noise(ends, begin_condition)
        steps = [
            self.network(slerp(begins, ends, step / (_PICTURE_COLUMNS - 1)), first) for step in range(_PICTURE_COLUMNS)
        ]
        return {
            "reconstructions": to_uint8(torch.stack([images[:count], decoded[:count]])),
            "interpolations": torch.stack([to_uint8(step) for step in steps], dim=1),
        }


def likelihood_std(images: Tensor, decoded: Tensor) -> Tensor:
    """Return the most likely standard deviation of each channel's pixels, (C,); images and decoded (B, C, H, W)."""
    return _std_of(_squared_error(images, decoded))


def _likelihood(images: Tensor, decoded: Tensor, part: Part | None) -> tuple[Tensor, Tensor | float]:
    """Return the batch's most likely standard deviation s, (C,), and the squared errors over 2 s^2, a mean per value.

    With the most likely s, these are 1/2 in the whole batch, and the gradient is that of s. In a part of a batch, s is
    a number, and the gradients of the parts' errors add up to the same.
    """
    if part is None or part.batch_mean is None:
        return likelihood_std(images, decoded), 0.5
    error = _squared_error(images, decoded)
    whole, smallest = part.batch_mean(error.detach()), _SMALLEST_STD**2
    # Limited before the division, whose gradient at 0 is not a number, also where `where` takes the other side.
    return _std_of(whole), torch.where(whole > smallest, 0.5 * error / whole.clamp(min=smallest), 0.5)


def _squared_error(images: Tensor, decoded: Tensor) -> Tensor:
    return (images - decoded.float()).square().mean(dim=(0, 2, 3))


def _std_of(squared_error: Tensor) -> Tensor:
    # Limited before the root, whose gradient at 0 is infinite.
    return squared_error.clamp(min=_SMALLEST_STD**2).sqrt()


def posterior_log_density(posterior: Posterior, noise: Tensor) -> Tensor:
    """Logarithm of the posterior's density at the latents from noise (B, latent_dim): (B,)."""
    return -0.5 * (noise.square() + posterior.log_variance + math.log(2 * math.pi)).sum(dim=1)
