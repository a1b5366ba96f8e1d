"""Encoder and decoder of residual blocks, joined by a prior into one network."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.image_size import ImageSize
from genai_core.models.networks.class_embedding import ClassEmbedding
from genai_core.models.networks.norm import GroupNorm
from genai_core.models.networks.resolutions import resolutions, widths
from genai_core.models.networks.vae.flow import Flow

_CLASS_DIM = 16
_LOG_VARIANCE_RANGE = (-12.0, 4.0)


@dataclass(frozen=True)
class Posterior:
    """A Gaussian over the latents of each image: mean and log_variance (B, latent_dim) float32."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Draw latents (B, latent_dim) from standard normal noise of that shape."""
        return self.mean + noise * (self.log_variance / 2).exp()


class Autoencoder(nn.Module):
    """Encoder, prior and decoder. Its forward pass generates images: from noise through the prior and the decoder.

    image_size, channels: of the images. classes: their number, 0 for unconditional. width: channels of the finest
    level. depth: residual blocks per level. flow_layers: of the prior, 0 for a standard normal prior.
    """

    def __init__(
        self,
        image_size: ImageSize,
        channels: int,
        classes: int,
        width: int,
        depth: int,
        latent_dim: int,
        flow_layers: int,
    ) -> None:
        super().__init__()
        class_dim = _CLASS_DIM if classes else 0
        self.latent_dim = latent_dim
        self.class_embedding = ClassEmbedding(classes, class_dim) if classes else None
        self.encoder = Encoder(image_size, channels, width, depth, latent_dim, class_dim)
        self.prior = Flow(latent_dim, flow_layers, class_dim)
        self.decoder = Decoder(image_size, channels, width, depth, latent_dim, class_dim)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """noise (B, latent_dim) standard normal -> images (B, C, H, W), about -1 to 1.

        labels: (B,) int64, or class weights (B, classes); None without classes.
        """
        condition = self.condition(labels, len(noise))
        images: Tensor = self.decoder(self.prior.to_latents(noise, condition), condition)
        return images

    def condition(self, labels: Tensor | None, count: int) -> Tensor:
        """Return the class condition for encoder, prior and decoder, (count, class_dim); width 0 without classes."""
        if self.class_embedding is None:
            return torch.empty((count, 0), device=next(self.parameters()).device)
        embedded: Tensor = self.class_embedding(labels)
        return embedded


class Encoder(nn.Module):
    """Maps images and classes to a Gaussian over latents."""

    def __init__(
        self, image_size: ImageSize, channels: int, width: int, depth: int, latent_dim: int, class_dim: int
    ) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        counts = widths(width, len(sizes))
        layers: list[nn.Module] = [nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1)]
        for level, (before, count) in enumerate(pairwise((width, *counts))):
            if level:
                layers.append(nn.AvgPool2d(2))
            layers += _blocks(before, count, depth)
        layers += [GroupNorm(counts[-1]), nn.SiLU(), nn.Flatten()]
        self.trunk = nn.Sequential(*layers)
        self.output = nn.Linear(counts[-1] * sizes[-1].pixels + class_dim, 2 * latent_dim)

    def forward(self, images: Tensor, condition: Tensor) -> Posterior:
        """images (B, C, H, W), condition (B, class_dim)."""
        output = self.output(torch.cat([self.trunk(images), condition], dim=1)).float()
        mean, log_variance = output.chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCE_RANGE))


class Decoder(nn.Module):
    """Maps latents and classes to images."""

    def __init__(
        self, image_size: ImageSize, channels: int, width: int, depth: int, latent_dim: int, class_dim: int
    ) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        counts = widths(width, len(sizes))
        thin = max(8, width // 2)
        self.coarsest = sizes[-1]
        self.input = nn.Linear(latent_dim + class_dim, counts[-1] * sizes[-1].pixels)
        layers: list[nn.Module] = []
        for level in reversed(range(len(sizes))):
            layers += _blocks(counts[min(level + 1, len(sizes) - 1)], counts[level], depth)
            if level:
                layers.append(nn.Upsample(scale_factor=2.0, mode="nearest"))
        head = [GroupNorm(width), nn.SiLU(), nn.Conv2d(width, 4 * thin, kernel_size=3, padding=1), nn.PixelShuffle(2)]
        self.trunk = nn.Sequential(*layers, *head, nn.SiLU(), nn.Conv2d(thin, channels, kernel_size=3, padding=1))

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        """latents (B, latent_dim), condition (B, class_dim) -> (B, C, H, W)."""
        x = self.input(torch.cat([latents, condition], dim=1)).unflatten(1, (-1, *self.coarsest))
        images: Tensor = self.trunk(x.contiguous(memory_format=torch.channels_last))
        return images.float()


class Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(inputs), GroupNorm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, kernel_size=1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H, W)."""
        hidden = self.conv1(functional.silu(self.norm1(x)))
        result: Tensor = self.skip(x) + self.conv2(functional.silu(self.norm2(hidden)))
        return result


def _blocks(inputs: int, outputs: int, depth: int) -> list[Block]:
    return [Block(inputs if index == 0 else outputs, outputs) for index in range(depth)]
