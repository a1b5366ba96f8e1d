import pytest

from genai_core.models.networks.resolutions import resolutions, widths


@pytest.mark.parametrize(
    ("image_size", "sides"),
    [(8, (4,)), (12, (6,)), (16, (8, 4)), (28, (14, 7)), (32, (16, 8, 4)), (64, (32, 16, 8, 4)), (36, (18, 9))],
)
def test_halves_down_to_four(image_size, sides):
    assert resolutions(image_size) == sides


@pytest.mark.parametrize("image_size", [0, 4, 18, 30])
def test_other_sizes_are_refused(image_size):
    with pytest.raises(ValueError, match=f"got {image_size}; allowed: a multiple of 4"):
        resolutions(image_size)


def test_channels_double_at_most_twice():
    assert widths(8, 5) == (8, 16, 32, 32, 32)
