"""At which resolutions a network works, for an image of a given size."""


def resolutions(image_size: int) -> tuple[int, ...]:
    """The feature maps' sides from the finest to the coarsest: half the image, then halves while even and 8 or more.

    The finest is half the image: at full resolution a convolution costs four times as much, and on small images adds little.
    16 -> (8, 4), 28 -> (14, 7), 64 -> (32, 16, 8, 4). Raises ValueError unless image_size is a multiple of 4, 8 or more.
    """
    if image_size < 8 or image_size % 4:
        raise ValueError(f"image_size must be a multiple of 4 from 8 on, got {image_size} (params.yaml: data.image_size)")
    sides = [image_size // 2]
    while sides[-1] % 2 == 0 and sides[-1] >= 8:
        sides.append(sides[-1] // 2)
    return tuple(sides)


def widths(width: int, levels: int) -> tuple[int, ...]:
    """Channels of each level, doubling from `width` and at most four times as many: the coarse maps are small, wide is cheap there."""
    return tuple(width * min(2**level, 4) for level in range(levels))
