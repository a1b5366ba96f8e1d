"""Conversion between images and maps of codes."""

from torch import Tensor, channels_last, nn
from torch.nn import functional

from genai_core.models.networks.norm import GroupNorm
from genai_core.models.networks.resolutions import widths


class Tokenizer(nn.Module):
    """Encoder and decoder between images and maps of `code_dim` channels, `stride` times smaller.

    channels: of the images. width: channels at half the image's resolution, doubling below, up to four times as many.
    depth: residual blocks per resolution. stride: a power of two, 2 or more.
    """

    def __init__(self, channels: int, width: int, depth: int, stride: int, code_dim: int) -> None:
        super().__init__()
        halvings = stride.bit_length() - 2  # after the first layer
        counts = widths(width, halvings + 1)
        thin = max(8, width // 2)
        down: list[nn.Module] = [nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(code_dim, counts[-1], kernel_size=3, padding=1)]
        for level, count in enumerate(counts):
            if level:
                down.append(nn.Conv2d(counts[level - 1], count, kernel_size=4, stride=2, padding=1))
            down += [Block(count) for _ in range(depth)]
        for level in reversed(range(len(counts))):
            up += [Block(counts[level]) for _ in range(depth)]
            if level:
                change = nn.Conv2d(counts[level], counts[level - 1], kernel_size=1)
                up += [change, nn.Upsample(scale_factor=2.0, mode="nearest")]
        self.encoder = nn.Sequential(*down, GroupNorm(counts[-1]), nn.SiLU(), nn.Conv2d(counts[-1], code_dim, 1))
        head = [GroupNorm(width), nn.SiLU(), nn.Conv2d(width, 4 * thin, kernel_size=3, padding=1), nn.PixelShuffle(2)]
        self.decoder = nn.Sequential(*up, *head, nn.SiLU(), nn.Conv2d(thin, channels, kernel_size=3, padding=1))

    def encode(self, images: Tensor) -> Tensor:
        """images (B, C, H, W) -> (B, h, w, code_dim) float32."""
        encoded: Tensor = self.encoder(images.contiguous(memory_format=channels_last))
        return encoded.permute(0, 2, 3, 1).float()

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, h, w, code_dim) -> images (B, C, H, W) float32, about -1 to 1."""
        images: Tensor = self.decoder(codes.permute(0, 3, 1, 2))
        return images.float()


class Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(channels), GroupNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        hidden = self.conv1(functional.silu(self.norm1(x)))
        result: Tensor = x + self.conv2(functional.silu(self.norm2(hidden)))
        return result
