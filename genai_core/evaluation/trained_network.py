"""Network that learns features from the dataset itself (extractor_training.py)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.evaluation.feature_network import ExtractorOutput, FeatureNetwork
from genai_core.image_size import ImageSize


class Extractor(FeatureNetwork):
    """Residual CNN with pre-activation (He et al. 2016, arXiv 1603.05027), a standardised embedding and a linear head.

    Each feature has mean 0 and variance 1 over the training images, which gives a Fréchet distance a scale: the total
    variance of the real images is feature_dim.
    """

    feature_mean: Tensor
    feature_std: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        width: int,
        feature_dim: int,
        outputs: int,
        image_size: ImageSize,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.image_size, self.channels = image_size, len(mean)
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        # Images of a single flat colour have a standard deviation of 0.
        self.register_buffer("pixel_std", torch.tensor(std).clamp(min=1e-3).view(1, -1, 1, 1), persistent=False)
        # Half resolution from the first layer: full resolution takes twice the time for the built-in digits. Both sides
        # are halved until the shorter one is 4 or less; the mean over all positions follows.
        shorter, features = image_size.shorter // 2, width
        layers: list[nn.Module] = [
            nn.Conv2d(self.channels, width, kernel_size=5, stride=2, padding=2, bias=False),
            ResidualBlock(width, width, stride=1),
        ]
        while shorter > 4:
            wider = min(2 * features, 4 * width)
            layers.append(ResidualBlock(features, wider, stride=2))
            shorter, features = (shorter + 1) // 2, wider
        self.trunk = nn.Sequential(*layers, nn.BatchNorm2d(features), nn.ReLU())
        self.project = nn.Linear(features, feature_dim)
        self.standardise = nn.BatchNorm1d(feature_dim, affine=False)
        self.head = nn.Linear(feature_dim, outputs)
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))

    def forward(self, images: Tensor) -> ExtractorOutput:
        """images: (N, C, H, W) uint8."""
        pixels = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        embedding = self.standardise(self.project(self.trunk(pixels).mean(dim=(2, 3))))
        features = (embedding - self.feature_mean) / self.feature_std
        return ExtractorOutput(features, self.head(functional.gelu(embedding)), embedding)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; `stride` 2 halves the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False) if inputs != outputs else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(functional.relu(self.norm1(x)))
        residual = self.conv2(functional.relu(self.norm2(residual)))
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        added: Tensor = residual + self.shortcut(x)
        return added
