import numpy as np
import pytest
import torch

from genai_core.data.augment.warp import warp


def warped(image, **changes):
    return warp(torch.from_numpy(image), **changes).numpy()


def noise(size):
    return np.random.default_rng(0).integers(0, 256, (1, size, size), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 20), (1, 20, 8)])
def test_rectangles_move_and_turn_as_squares_do(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    moved = warped(image, shift_px=(3.0, -2.0))
    assert (moved[:, :-2, 3:] == image[:, 2:, :-3]).all()
    assert np.abs(warped(image, angle_degrees=180.0).astype(int) - image[:, ::-1, ::-1]).max() <= 1
    strong = warped(image, angle_degrees=60.0, shift_px=(8.0, -8.0), scale=0.3, shear_degrees=(17.0, 0.0))
    assert strong.shape == shape


def test_whole_pixels_of_shift_move_the_image_to_the_right_and_down():
    image = np.zeros((1, 12, 12), dtype=np.uint8)
    image[:, 4:8, 4:8] = noise(4)
    assert (warped(image, shift_px=(2.0, 1.0))[:, 5:9, 6:10] == image[:, 4:8, 4:8]).all()


def test_half_a_turn_rotates_by_180_degrees():
    image = np.zeros((1, 12, 12), dtype=np.uint8)
    image[:, 2:10, 2:10] = noise(8)
    assert np.abs(warped(image, angle_degrees=180.0).astype(int) - image[:, ::-1, ::-1]).max() <= 1


def test_shear_slants_columns_about_the_middle():
    # tan(45 degrees): each row moves by its distance from the middle.
    image = np.zeros((1, 13, 13), dtype=np.uint8)
    image[:, :, 6] = 200
    slanted = warped(image, shear_degrees=(45.0, 0.0))[0]
    assert [int(row.argmax()) for row in slanted[2:11]] in (list(range(2, 11)), list(range(10, 1, -1)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 130, 255])
def test_a_plain_background_is_continued(channels, level):
    image = np.full((channels, 12, 12), level, dtype=np.uint8)
    image[:, 5:7, 5:7] = 255 - level
    result = warped(image, angle_degrees=30.0, shift_px=(3.0, 0.0), scale=0.7, shear_degrees=(10.0, 0.0))
    ring = np.concatenate([result[:, 0], result[:, -1], result[:, :, 0], result[:, :, -1]], axis=1)
    assert (ring == level).all()


def test_a_picture_without_background_is_mirrored_at_its_edge():
    # A ramp: the left must be filled from its dark side, not with one colour or black.
    image = np.tile(np.linspace(60, 200, 12).astype(np.uint8), (1, 12, 1))
    result = warped(image, shift_px=(3.0, 0.0))
    assert (result[:, :, 3:] == image[:, :, :-3]).all()
    assert (result[:, :, :3] == image[:, :, 3:0:-1]).all()


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.9])
@pytest.mark.parametrize("angle_degrees", [-180.0, -45.0, 1.0, 90.0])
@pytest.mark.parametrize("shear_degrees", [(0.0, 0.0), (17.0, 0.0), (0.0, -17.0)])
def test_strong_changes_keep_the_size_and_leave_no_hole(scale, angle_degrees, shear_degrees):
    image = np.random.default_rng(0).integers(100, 200, (3, 16, 16), dtype=np.uint8)
    result = warped(image, angle_degrees=angle_degrees, shift_px=(8.0, -8.0), scale=scale, shear_degrees=shear_degrees)
    assert result.shape == image.shape
    assert result.min() >= 100
