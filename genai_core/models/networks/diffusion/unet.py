"""U-Net conditioned on noise level and class; works from half the image's resolution down, to be fast on a CPU core."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.image_size import ImageSize
from genai_core.models.networks.attention import attend
from genai_core.models.networks.class_embedding import ClassEmbedding, hide
from genai_core.models.networks.norm import GroupNorm
from genai_core.models.networks.resolutions import resolutions, widths

# Attention where the shorter side of the feature map is at most this: its cost grows with the square of the pixels, the
# fourth power of the side. By the shorter side, the coarsest maps of a rectangle have attention where those of a square
# have. The longer side is at most four times as long (image_size.py), so attention sees at most 7 x 28 positions.
_ATTENTION_SIDE = 7
_FREQUENCIES = 16


class UNet(nn.Module):
    """Maps noisy images, their noise level and their class to images of the same shape.

    image_size, channels: of the images. classes: their number, 0 for unconditional. width: channels of the finest
    level. depth: residual blocks per level, on the way down and again on the way up. augmentations: number of values
    that describe an image's augmentation.
    """

    def __init__(
        self, image_size: ImageSize, channels: int, classes: int, width: int, depth: int, augmentations: int = 0
    ) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        *finer, coarsest = widths(width, len(sizes))
        # 1.5 times the channels where weights are cheapest: at the coarsest size, each is applied to the fewest pixels.
        channel_counts = (*finer, coarsest * 3 // 2)
        embedding, thin = 4 * width, max(8, width // 4)
        self.noise_embedding = NoiseEmbedding(embedding)
        # One row more than classes: the last one is for "no label".
        self.class_embedding = ClassEmbedding(classes + 1, embedding) if classes else None
        # Without a bias, so that all zeros, an unchanged image, add nothing.
        self.augmentation_embedding = nn.Linear(augmentations, embedding, bias=False) if augmentations else None
        self.stem = nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = width
        for size, count in zip(sizes, channel_counts, strict=True):
            down, up = [before] + depth * [count], depth * [count] + [before]
            self.down.append(Level(Block(*pair, embedding, size) for pair in pairwise(down)))
            self.up.append(Level(Block(*pair, embedding, size) for pair in pairwise(up)))
            before = count
        self.middle = Block(channel_counts[-1], channel_counts[-1], embedding, sizes[-1])
        self.head_norm = GroupNorm(width)
        self.head = nn.Conv2d(width, 4 * thin, kernel_size=3, padding=1)
        # Fine detail bypasses the half-resolution part, in few channels.
        self.thin = nn.Conv2d(channels, thin, kernel_size=3, padding=1)
        self.output = _zero(nn.Conv2d(thin, channels, kernel_size=3, padding=1))

    def forward(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor | None,
        augmentation: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """images (B, C, H, W), noise (B,) about -1.5 to 1.5, the others as in Diffusion.denoise -> (B, C, H, W)."""
        if self.class_embedding is not None and labels is not None and hidden is not None:
            labels = hide(labels, hidden, no_label=self.class_embedding.num_embeddings - 1)
        embedding = self._embedding(noise, labels, augmentation)
        skips, x = self._down(images, embedding)
        for level in reversed(range(len(self.up))):
            # Added, not concatenated: saves a third of the operations on the way up.
            x = (x + skips[level]) * math.sqrt(0.5)
            x = self.up[level](x, embedding)
            if level:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.head(functional.silu(self.head_norm(x)))
        result: Tensor = self.output(functional.silu(functional.pixel_shuffle(x, 2) + self.thin(images)))
        return result

    def features(self, images: Tensor, noise: Tensor, labels: Tensor | None) -> list[Tensor]:
        """Return what the way down knows of images, finest first: a map (B, C, H, W) of each level, then the middle."""
        maps, middle = self._down(images, self._embedding(noise, labels, None))
        return [*maps, middle]

    def _embedding(self, noise: Tensor, labels: Tensor | None, augmentation: Tensor | None) -> Tensor:
        embedding = self.noise_embedding(noise)
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(labels)
        if self.augmentation_embedding is not None and augmentation is not None:
            embedding = embedding + self.augmentation_embedding(augmentation)
        return functional.silu(embedding)

    def _down(self, images: Tensor, embedding: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps of each level, finest first, and that of the middle."""
        x = self.stem(images)
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                x = functional.avg_pool2d(x, 2)
            x = blocks(x, embedding)
            skips.append(x)
        return skips, self.middle(x, embedding)


class Level(nn.ModuleList):
    """Sequence of blocks at one resolution."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, inputs, H, W), embedding (B, embedding) -> (B, outputs, H, W)."""
        for block in self:
            x = block(x, embedding)
        return x


class NoiseEmbedding(nn.Module):
    """Fourier features of the noise level, with fixed frequencies, followed by two layers."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.linspace(-2, 5, _FREQUENCIES), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * _FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, noise: Tensor) -> Tensor:
        """noise (B,) -> (B, dim)."""
        angles = noise[:, None] * self.frequencies
        result: Tensor = self.layers(torch.cat([angles.cos(), angles.sin()], dim=1))
        return result


class Block(nn.Module):
    """A residual block, with attention in small maps; the embedding scales and shifts its second normalisation."""

    def __init__(self, inputs: int, outputs: int, embedding: int, size: ImageSize) -> None:
        super().__init__()
        self.norm1 = GroupNorm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm2 = GroupNorm(outputs)
        self.conv2 = _zero(nn.Conv2d(outputs, outputs, kernel_size=3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, kernel_size=1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if size.shorter <= _ATTENTION_SIDE else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, inputs, H, W), embedding (B, embedding) -> (B, outputs, H, W)."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv1(functional.silu(self.norm1(x)))
        hidden = torch.addcmul(shift, self.norm2(hidden), 1 + scale)
        result: Tensor = self.attention(self.skip(x) + self.conv2(functional.silu(hidden)))
        return result


class Attention(nn.Module):
    """Self-attention over the pixels of a feature map, with a residual connection."""

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        # The largest number of heads that divides the channels, each of at least about head_channels.
        self.heads = next(heads for heads in range(max(1, channels // head_channels), 0, -1) if channels % heads == 0)
        self.norm = GroupNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.output = _zero(nn.Conv2d(channels, channels, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = qkv.transpose(-1, -2).unbind(dim=1)
        mixed = attend(query, key, value)
        result: Tensor = x + self.output(mixed.transpose(-1, -2).reshape(batch, channels, height, width))
        return result


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Zero the layer's weights, so that the branch it ends starts as zero and the block as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
