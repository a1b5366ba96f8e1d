import numpy as np
import pytest

from genai_core.data.looking.pixels import (
    commonest_ratio,
    deviation,
    is_coloured,
    is_transparent,
    opacity,
    visible_background,
)


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """One image (3, 8, 8) of each colour."""
    return np.stack([np.full((8, 8, 3), colour, dtype=np.uint8).transpose(2, 0, 1) for colour in colours])


def test_coloured() -> None:
    assert is_coloured(plain((10, 10, 10), (200, 198, 203), (200, 30, 30))).tolist() == [False, False, True]


def test_opacity_is_what_two_grounds_do_not_share() -> None:
    black, white = plain((100, 100, 100), (0, 0, 0)), plain((100, 100, 100), (255, 255, 255))
    opaque = opacity(black, white)
    assert opaque[0].min() == 1
    assert opaque[1].max() == 0
    assert is_transparent(opaque).tolist() == [False, True]


@pytest.mark.parametrize(
    ("brightness", "ground"),
    [
        ([0] * 4, 255),
        ([128] * 4, 255),
        ([255] * 4, 0),
        ([128] * 19 + [255], 255),  # a few white ones among others
        ([128] * 17 + [255] * 3, 0),
        ([0] * 10 + [255] * 5, 255),  # on black, more would be lost
    ],
)
def test_transparent_images_lie_on_white_unless_it_hides_many(brightness: list[int], ground: int) -> None:
    black = np.zeros((len(brightness), 3, 4, 4), np.uint8)
    opaque = np.zeros((len(brightness), 4, 4))
    opaque[:, 1:3, 1:3] = 1.0
    black[:, :, 1:3, 1:3] = np.array(brightness, np.uint8)[:, None, None, None]
    assert visible_background(black, opaque) == (ground,) * 3


def test_deviation_of_pixels_and_of_means() -> None:
    found = deviation(plain((0, 0, 0), (255, 255, 255)), grey=False)
    assert (found.pixel_std, found.mean_spread) == pytest.approx((1, 1))
    striped = plain((0, 0, 0), (0, 0, 0))
    striped[:, :, ::2] = 255
    found = deviation(striped, grey=False)
    assert (found.pixel_std, found.mean_spread) == pytest.approx((1, 0))
    assert deviation(plain((255, 0, 0), (0, 255, 0)), grey=True).pixel_std == pytest.approx(0)


def test_the_commonest_ratio() -> None:
    sizes = np.array([[400, 533], [300, 400], [410, 530], [640, 480]])
    assert commonest_ratio(sizes) == (0.75, 0.75)
