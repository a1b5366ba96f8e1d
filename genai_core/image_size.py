"""Height and width of images: the one form in which a size is passed, and which sizes are allowed.

Imports only the standard library, because the decoding processes import it.
"""

from typing import Any, NamedTuple

# The networks work at half the image's resolution and halve it again at least once where the image is 16 or larger.
MULTIPLE, SHORTEST, LONGEST = 4, 8, 256
# The networks halve both sides until the shorter one is 4 to 7 pixels. Of a longer strip, that map would still be so
# long that its ends do not see each other.
MAX_ASPECT_RATIO = 4


class ImageSize(NamedTuple):
    """Height and width in pixels, in this order everywhere, as in a tensor (C, H, W).

    In files, a square is one number, its side, and any other size is [height, width]. Files of square images are
    therefore the same as before other sizes existed.
    """

    height: int
    width: int

    @classmethod
    def square(cls, side: int) -> "ImageSize":
        return cls(side, side)

    @classmethod
    def from_json(cls, value: Any) -> "ImageSize":
        """Parse a side or [height, width]. Raises ValueError for anything else."""
        sides = value if isinstance(value, list | tuple) else [value, value]
        if len(sides) != 2 or any(type(side) is not int for side in sides):
            raise ValueError("a number of pixels, or [height, width]")
        return cls(*sides)

    def to_json(self) -> int | list[int]:
        return self.height if self.is_square else [self.height, self.width]

    @property
    def is_square(self) -> bool:
        return self.height == self.width

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def shorter(self) -> int:
        return min(self)

    def __str__(self) -> str:
        """Return the size for people; a rectangle says which side is which."""
        return f"{self.height} x {self.width}" + ("" if self.is_square else " (height x width)")


def is_allowed(size: ImageSize) -> bool:
    """Whether the networks can generate images of this size."""
    return (
        all(SHORTEST <= side <= LONGEST and side % MULTIPLE == 0 for side in size)
        and max(size) <= MAX_ASPECT_RATIO * size.shorter
    )


def allowed_sizes(size: ImageSize) -> str:
    """Say which sizes are allowed, and which of them is nearest to `size`, which is not."""
    sides = range(SHORTEST, LONGEST + 1, MULTIPLE)
    allowed = (ImageSize(height, width) for height in sides for width in sides)
    nearest = min(
        filter(is_allowed, allowed), key=lambda other: sum(abs(a - b) for a, b in zip(size, other, strict=True))
    )
    rule = f"a multiple of {MULTIPLE} from {SHORTEST} to {LONGEST}"
    if not size.is_square:
        rule = f"[height, width], each {rule}, the longer at most {MAX_ASPECT_RATIO} times the shorter"
    return f"{rule}; the nearest is {nearest.to_json()}"
