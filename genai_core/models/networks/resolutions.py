"""Resolutions and channels of a network's levels for a given image size."""

from genai_core.image_size import ImageSize, allowed_sizes, is_allowed

_SMALLEST_HALVED = 8  # shorter sides below this are not halved


def resolutions(image_size: ImageSize) -> tuple[ImageSize, ...]:
    """Return the sizes of the feature maps, finest first: half the image, then halved further.

    Both sides are halved together, while both are even and the shorter is at least 8: 16 -> (8, 4), 28 -> (14, 7),
    64 -> (32, 16, 8, 4), 16 x 24 -> (8 x 12, 4 x 6), 28 x 64 -> (14 x 32, 7 x 16). The finest is half the image,
    because convolutions at full resolution cost four times as much and add little. Raises ValueError for a size that
    is not allowed (image_size.py).
    """
    if not is_allowed(image_size):
        raise ValueError(f"data.image_size: got {image_size.to_json()}; allowed: {allowed_sizes(image_size)}")
    sizes = [_half(image_size)]
    while all(side % 2 == 0 for side in sizes[-1]) and sizes[-1].shorter >= _SMALLEST_HALVED:
        sizes.append(_half(sizes[-1]))
    return tuple(sizes)


def _half(size: ImageSize) -> ImageSize:
    return ImageSize(size.height // 2, size.width // 2)


def widths(width: int, levels: int) -> tuple[int, ...]:
    """Return the channels of each level: `width` at the finest, doubling, up to four times `width`."""
    return tuple(width * min(2**level, 4) for level in range(levels))
