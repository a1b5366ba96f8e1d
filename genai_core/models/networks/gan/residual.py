"""Generator and discriminator of residual blocks without normalisation (Huang et al. 2025, arXiv 2501.05441)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.image_size import ImageSize
from genai_core.models.networks.class_embedding import ClassEmbedding
from genai_core.models.networks.precision import full_precision
from genai_core.models.networks.resolutions import resolutions, widths

_SLOPE = 0.2  # of the leaky ReLU below zero
_LAST_GAIN = 0.7  # initial gain of a block's last convolution
# Initial standard deviation of the class embedding: below the latent's, so that images vary within a class.
_CLASS_STD = 0.3


class Generator(nn.Module):
    """Maps latents and classes to images.

    image_size, channels: of the images. classes: their number, 0 for unconditional. width: channels of the finest
    level. depth: residual blocks per level.
    """

    def __init__(
        self, image_size: ImageSize, channels: int, classes: int, width: int, depth: int, latent_dim: int
    ) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        counts = widths(width, len(sizes))
        thin = max(8, width // 4)
        self.class_embedding = ClassEmbedding(classes, latent_dim) if classes else None
        if self.class_embedding is not None:
            nn.init.normal_(self.class_embedding.weight, std=_CLASS_STD)
        inputs = latent_dim * (2 if classes else 1)
        # A basis of feature maps, mixed by the latent: gives the coarsest level a value at every position.
        self.basis = nn.Parameter(torch.randn(counts[-1], *sizes[-1]))
        self.mix = _linear(inputs, counts[-1], gain=1.0)
        self.levels = nn.ModuleList()
        for level in reversed(range(len(sizes))):
            before = counts[min(level + 1, len(sizes) - 1)]
            blocks = [Block(counts[level], len(sizes) * depth) for _ in range(depth)]
            change = _conv(before, counts[level], 1, gain=1.0) if before != counts[level] else nn.Identity()
            self.levels.append(nn.Sequential(change, *blocks))
        self.head = _conv(width, 4 * thin, 3, gain=1.0)
        self.output = _conv(thin, channels, 3, gain=1.0)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """latents (B, latent_dim) standard normal -> images (B, C, H, W), about -1 to 1.

        labels: (B,) int64, or class weights (B, classes); None without classes.
        """
        if self.class_embedding is not None:
            latents = torch.cat([latents, self.class_embedding(labels)], dim=1)
        x = self.basis * self.mix(latents)[:, :, None, None]
        for level, blocks in enumerate(self.levels):
            if level:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = blocks(x)
        x = functional.pixel_shuffle(self.head(x), 2)
        images: Tensor = self.output(functional.leaky_relu(x, _SLOPE))
        return images


class Discriminator(nn.Module):
    """Maps images and classes to one number per image: high for images it judges real. Sizes as the generator's."""

    def __init__(self, image_size: ImageSize, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        counts = widths(width, len(sizes))
        self.stem = _conv(channels, width, 4, gain=1.0, stride=2)
        self.levels = nn.ModuleList()
        for level in range(len(sizes)):
            after = counts[min(level + 1, len(sizes) - 1)]
            blocks = [Block(counts[level], len(sizes) * depth) for _ in range(depth)]
            change = _conv(counts[level], after, 1, gain=1.0) if after != counts[level] else nn.Identity()
            self.levels.append(nn.Sequential(*blocks, change))
        # A weight per channel and position; then one score, or one per class (Miyato and Koyama 2018: projection).
        self.gather = nn.Conv2d(counts[-1], counts[-1], kernel_size=sizes[-1], groups=counts[-1], bias=False)
        nn.init.normal_(self.gather.weight, std=1.0 / math.sqrt(sizes[-1].pixels))
        self.score = _linear(counts[-1], max(classes, 1), gain=1.0)
        self.conditional = classes > 0

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """images (B, C, H, W), labels (B,) int64 or None -> (B,) float32, also under autocast."""
        x = functional.leaky_relu(self.stem(images), _SLOPE)
        for level, blocks in enumerate(self.levels):
            if level:
                x = functional.avg_pool2d(x, 2)
            x = functional.leaky_relu(blocks(x), _SLOPE)
        # The difference of two scores matters: bf16, with its 8 bits, could represent only a few differences.
        with full_precision(x.device):
            scores: Tensor = self.score(functional.leaky_relu(self.gather(x.float()).flatten(1), _SLOPE))
        if labels is not None:
            return scores.gather(1, labels[:, None])[:, 0]
        return scores[:, 0]


class Block(nn.Module):
    """Two 3x3 convolutions and a residual connection, without normalisation.

    blocks: of the whole network. The sum over several blocks must not grow with their number, so more blocks start with
    smaller weights (Zhang et al. 2019, Fixup). The last layer starts small, not at zero as in Fixup: networks that
    start linear can at first only match each class's mean, and a short training never recovers the lost variety.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        scale = blocks**-0.5
        self.conv1 = _conv(channels, channels, 3, gain=math.sqrt(2 / (1 + _SLOPE**2)) * scale)
        self.conv2 = _conv(channels, channels, 3, gain=_LAST_GAIN * scale)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        hidden = self.conv1(functional.leaky_relu(x, _SLOPE))
        result: Tensor = x + self.conv2(functional.leaky_relu(hidden, _SLOPE))
        return result


def _conv(inputs: int, outputs: int, kernel: int, gain: float, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution whose output has gain squared times the variance of its input; stride divides the size."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2)
    _initialise(layer, inputs * kernel**2, gain)
    return layer


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    _initialise(layer, inputs, gain)
    return layer


def _initialise(layer: nn.Conv2d | nn.Linear, fan_in: int, gain: float) -> None:
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
