"""Resolutions and channels of a network's levels for a given image size."""


def resolutions(image_size: int) -> tuple[int, ...]:
    """Return the feature maps' sides, finest first: half the image, halved further while even and at least 8.

    The finest is half the image, because convolutions at full resolution cost four times as much and add little.
    16 -> (8, 4), 28 -> (14, 7), 64 -> (32, 16, 8, 4). Raises ValueError unless image_size is a multiple of 4 and at
    least 8.
    """
    if image_size < 8 or image_size % 4:
        raise ValueError(f"data.image_size: got {image_size}; allowed: a multiple of 4, at least 8")
    sides = [image_size // 2]
    while sides[-1] % 2 == 0 and sides[-1] >= 8:
        sides.append(sides[-1] // 2)
    return tuple(sides)


def widths(width: int, levels: int) -> tuple[int, ...]:
    """Return the channels of each level: `width` at the finest, doubling, up to four times `width`."""
    return tuple(width * min(2**level, 4) for level in range(levels))
