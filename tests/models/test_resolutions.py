import pytest

from genai_core.image_size import ImageSize
from genai_core.models.networks.resolutions import resolutions, widths


@pytest.mark.parametrize(
    ("side", "sides"),
    [(8, (4,)), (12, (6,)), (16, (8, 4)), (28, (14, 7)), (32, (16, 8, 4)), (64, (32, 16, 8, 4)), (36, (18, 9))],
)
def test_halves_down_to_four(side, sides):
    assert resolutions(ImageSize.square(side)) == tuple(map(ImageSize.square, sides))


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((16, 24), ((8, 12), (4, 6))),
        ((24, 16), ((12, 8), (6, 4))),
        ((28, 64), ((14, 32), (7, 16))),  # 7 is odd
        ((8, 32), ((4, 16),)),  # 4 is the smallest, although 16 is not
        ((24, 40), ((12, 20), (6, 10))),
        ((40, 24), ((20, 12), (10, 6))),
    ],
)
def test_the_sides_of_a_rectangle_are_halved_together(size, sizes):
    assert resolutions(ImageSize(*size)) == sizes


@pytest.mark.parametrize("side", [0, 4, 18, 30])
def test_other_sizes_are_refused(side):
    with pytest.raises(ValueError, match=f"got {side}; allowed: a multiple of 4"):
        resolutions(ImageSize.square(side))


def test_channels_double_at_most_twice():
    assert widths(8, 5) == (8, 16, 32, 32, 32)
