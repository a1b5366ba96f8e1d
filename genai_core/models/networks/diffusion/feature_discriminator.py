"""A discriminator that sees images through the features of a frozen diffusion network (Sauer et al. 2024, arXiv
2403.12015).

Its own weights are a small head per feature map, so it learns within a few thousand images what one from scratch would
need many more for, and its steps are cheap. The network sees the images with noise, which it knows, and which hides
differences that are too small to matter.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.models.networks.precision import full_precision

_WIDTH = 64  # channels of a head
_HALVED_FROM = 8  # shorter sides from here on are halved by the head's convolution
_SLOPE = 0.2  # of the leaky ReLU below zero
_LEAST_SCALE = 1e-3


class FeatureDiscriminator(nn.Module):
    """The heads, and the scales of the features.

    examples: feature maps (N, C, H, W) of some images, which set sizes and scales. classes: their number, 0 for
    unconditional.
    """

    def __init__(self, examples: Sequence[Tensor], classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_Head(maps, max(classes, 1)) for maps in examples)
        for index, maps in enumerate(examples):
            scale = maps.float().square().mean(dim=(0, 2, 3), keepdim=True).sqrt().clamp_min(_LEAST_SCALE)
            self.register_buffer(f"scale{index}", scale)

    def scaled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the feature maps in float32, each channel with a root mean square of about 1."""
        return [maps.float() / self.get_buffer(f"scale{index}") for index, maps in enumerate(features)]

    def forward(self, scaled: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        """Scaled feature maps and labels (B,) int64, or None -> scores (B,), high for images that seem real."""
        scores = [head(maps, labels) for head, maps in zip(self.heads, scaled, strict=True)]
        return torch.stack(scores).mean(dim=0)


class _Head(nn.Module):
    """Two convolutions, and one score, or one per class (Miyato and Koyama 2018: projection)."""

    def __init__(self, maps: Tensor, classes: int) -> None:
        super().__init__()
        channels, height, width = maps.shape[1:]
        stride = 2 if min(height, width) >= _HALVED_FROM else 1
        size = (math.ceil(height / stride), math.ceil(width / stride))
        self.narrow = nn.Conv2d(channels, _WIDTH, kernel_size=1)
        self.look = nn.Conv2d(_WIDTH, _WIDTH, kernel_size=3, padding=1, stride=stride)
        self.gather = nn.Conv2d(_WIDTH, _WIDTH, kernel_size=size, groups=_WIDTH, bias=False)
        nn.init.normal_(self.gather.weight, std=1.0 / math.sqrt(size[0] * size[1]))
        self.score = nn.Linear(_WIDTH, classes)

    def forward(self, maps: Tensor, labels: Tensor | None) -> Tensor:
        x = functional.leaky_relu(self.narrow(maps), _SLOPE)
        x = functional.leaky_relu(self.look(x), _SLOPE)
        # As in the GAN's discriminator: differences of scores matter.
        with full_precision(x.device):
            x = functional.leaky_relu(self.gather(x.float()).flatten(1), _SLOPE)
            scores: Tensor = self.score(x)
        return scores[:, 0] if labels is None else scores.gather(1, labels[:, None])[:, 0]
