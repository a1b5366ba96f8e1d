"""At which resolutions a network works, for an image of a given size."""


def resolutions(image_size: int) -> tuple[int, ...]:
    """The feature maps' sides from the finest to the coarsest: half the image, then halves while even and 8 or more.

    The finest is half the image: at full resolution a convolution costs four times as much, and adds little.
    16 -> (8, 4), 28 -> (14, 7), 64 -> (32, 16, 8, 4). Raises ValueError unless image_size is a multiple of 4 from 8 on.
    """
    if image_size < 8 or image_size % 4:
        raise ValueError(f"data.image_size: got {image_size}; allowed: a multiple of 4 from 8 on")
    sides = [image_size // 2]
    while sides[-1] % 2 == 0 and sides[-1] >= 8:
        sides.append(sides[-1] // 2)
    return tuple(sides)


def widths(width: int, levels: int) -> tuple[int, ...]:
    """Channels of each level: `width` at the finest, doubling, at most four times as many."""
    return tuple(width * min(2**level, 4) for level in range(levels))
