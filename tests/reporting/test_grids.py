import numpy as np
import pytest
from PIL import Image

from genai_core.reporting.grids import choose_by_class, class_grid, image_grid, png_bytes, save_png, take


def ramp(count, channels=1, size=4):
    """Flat images with the levels 0, 10, 20 ..."""
    levels = (np.arange(count) * 10).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, channels, size, size)).copy()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_are_arranged_row_by_row(channels, mode):
    grid = image_grid(ramp(5, channels), columns=2, cell_px=8, gap_px=1)
    assert grid.mode == mode
    assert grid.size == (17, 26)
    pixels = np.asarray(grid.convert("L"))
    for index in range(5):
        row, column = divmod(index, 2)
        cell = pixels[row * 9 : row * 9 + 8, column * 9 : column * 9 + 8]
        assert (cell == index * 10).all()
    assert (pixels[18:, 9:] == 255).all()


def test_small_images_are_enlarged_by_integers_and_large_ones_reduced():
    assert image_grid(ramp(1, size=5), 1, cell_px=12).size == (15, 15)
    assert image_grid(ramp(1, size=100), 1, cell_px=12).size == (12, 12)


def test_pixels_stay_square_and_sharp():
    image = np.array([[[[0, 255], [255, 0]]]], np.uint8)
    grid = np.asarray(image_grid(image, 1, cell_px=6))
    assert set(np.unique(grid)) == {0, 255}
    np.testing.assert_array_equal(grid, np.kron(image[0, 0], np.ones((3, 3), np.uint8)))


def test_captions_widen_and_heighten_the_grid():
    plain = image_grid(ramp(4), 2, 16)
    grid = image_grid(ramp(4), 2, 16, row_captions=["cat", "dog"], column_captions=["a", "b"])
    assert grid.width > plain.width + 10
    assert grid.height > plain.height + 10
    left = np.asarray(grid)[:, : grid.width - plain.width]
    assert left.min() < 128


def test_a_long_name_is_truncated_and_other_alphabets_are_drawn():
    long = image_grid(ramp(1), 1, 16, row_captions=["x" * 500])
    assert long.width < 300
    latin, box = (np.asarray(image_grid(ramp(1), 1, 16, row_captions=[text])) for text in ("Жö", "\uffffö"))
    assert latin.shape != box.shape or (latin != box).any()


def test_clear_gaps_are_transparent_but_not_the_images():
    grid = image_grid(ramp(3), 2, cell_px=4, gap_px=2, clear_gaps=True)
    alpha = np.asarray(grid)[..., -1]
    assert grid.mode == "LA"
    assert (alpha[:, 4:6] == 0).all()
    assert (alpha[:4, :4] == 255).all()
    assert (alpha[6:, 6:] == 0).all()


def test_equal_images_give_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        save_png(tmp_path / "new" / name, image_grid(ramp(4), 2))
    first, second = ((tmp_path / "new" / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second == png_bytes(image_grid(ramp(4), 2))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 1, 4, 4)), "got float64"),
        (np.zeros((1, 2, 4, 4), np.uint8), "C 1 or 3"),
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((0, 1, 4, 4), np.uint8), "at least one image"),
    ],
)
def test_other_arrays_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        image_grid(images, 2)


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        image_grid(ramp(1), 0)


def test_each_class_has_a_row():
    labels = np.array([1, 0, 1, 0, 2, 1])
    choice = choose_by_class(labels, 6, ("a", "b", "c"), max_images=9)
    assert choice.columns == 3
    assert choice.row_captions == ("a", "b", "c")
    assert choice.index.tolist() == [1, 3, -1, 0, 2, 5, 4, -1, -1]


def test_classes_without_images_and_excess_classes_are_omitted():
    assert choose_by_class(np.array([2, 2]), 2, ("a", "b", "c")).row_captions == ("c",)
    many = choose_by_class(np.repeat(np.arange(50), 9), 450, tuple(map(str, range(50))))
    assert len(many.row_captions) == 20
    assert many.columns == 5


def test_unlabelled_images_keep_their_order():
    choice = choose_by_class(None, 5, (), max_images=3)
    assert choice.index.tolist() == [0, 1, 2]
    assert choice.columns == 3
    assert len(choose_by_class(None, 37, ()).index) == 30
    assert class_grid(ramp(5), None, ()).size[0] > class_grid(ramp(5), None, ()).size[1]


def test_an_empty_cell_is_white():
    images = ramp(3)
    shown = take(images, choose_by_class(np.array([0, 0, 1]), 3, ("a", "b"), max_images=4))
    assert [int(image.max()) for image in shown] == [0, 10, 20, 255]
    assert images.max() == 20


def test_no_column_is_empty_in_all_rows():
    choice = choose_by_class(np.array([0, 0, 1]), 3, ("a", "b"))
    assert (choice.columns, choice.index.tolist()) == (2, [0, 1, 2, -1])
