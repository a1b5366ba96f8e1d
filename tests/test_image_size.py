import pytest

from genai_core.image_size import ImageSize, allowed_sizes, is_allowed


@pytest.mark.parametrize(
    ("value", "size"), [(16, (16, 16)), ([16, 24], (16, 24)), ((8, 12), (8, 12)), ([9, 9], (9, 9))]
)
def test_a_side_or_height_and_width(value: object, size: tuple[int, int]) -> None:
    assert ImageSize.from_json(value) == size


@pytest.mark.parametrize("value", ["16", 16.0, True, None, [16], [1, 2, 3], [16, 24.0], [16, True], {"height": 1}])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a number of pixels, or"):
        ImageSize.from_json(value)


def test_a_square_is_one_number_in_files_and_a_rectangle_says_which_side_is_which() -> None:
    square, rectangle = ImageSize.square(16), ImageSize(16, 24)
    assert (square.to_json(), rectangle.to_json()) == (16, [16, 24])
    assert (str(square), f"{rectangle}") == ("16 x 16", "16 x 24 (height x width)")
    assert (rectangle.pixels, rectangle.shorter) == (384, 16)


@pytest.mark.parametrize("size", [(8, 8), (8, 32), (256, 64), (12, 44), (256, 256)])
def test_allowed(size: tuple[int, int]) -> None:
    assert is_allowed(ImageSize(*size))


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((30, 30), "28"),
        ((4, 4), "8"),
        ((0, 0), "8"),
        ((1000, 1000), "256"),
        ((23, 48), "[24, 48]"),
        ((48, 25), "[48, 24]"),
        ((300, 128), "[256, 128]"),
    ],
)
def test_the_nearest_allowed_size_is_named(size: tuple[int, int], nearest: str) -> None:
    assert not is_allowed(ImageSize(*size))
    assert allowed_sizes(ImageSize(*size)).endswith(f"; the nearest is {nearest}")


def test_a_strip_is_not_allowed() -> None:
    strip = ImageSize(8, 36)
    assert not is_allowed(strip)
    assert "the longer at most 4 times the shorter; the nearest is [8, 32]" in allowed_sizes(strip)
