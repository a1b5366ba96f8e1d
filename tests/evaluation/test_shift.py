"""Distance of new images to old ones: closed forms, and the effect of the number of images."""

import numpy as np
import pytest

from genai_core.evaluation.shift import measure_shift, small_pixels


def normal(count, mean=0.0, seed=0, dimension=4):
    return np.random.default_rng(seed).normal(mean, 1.0, (count, dimension))


def test_images_like_the_old_ones_have_the_floors_distance():
    shift = measure_shift(normal(400, seed=1), normal(4000), normal(400, seed=2))
    assert 0.5 < shift.over_floor < 2.0
    assert (shift.images, shift.reference_images, shift.dimension) == (400, 4000, 4)
    assert not shift.too_few


def test_the_distance_of_a_shifted_mean_is_its_square():
    # Two Gaussians with the same covariance: the distance is the squared difference of the means, over 4 dimensions.
    shift = measure_shift(normal(20_000, mean=2.0, seed=1), normal(20_000), normal(20_000, seed=2))
    assert shift.frechet_distance == pytest.approx(16.0, rel=0.02)
    assert shift.floor < 0.01
    assert shift.over_floor > 1000


def test_few_new_images_are_compared_with_equally_few_old_ones():
    """The floor thus has the same bias of few images."""
    old, held_out = normal(4000, dimension=32), normal(400, seed=2, dimension=32)
    few = measure_shift(normal(20, seed=1, dimension=32), old, held_out)
    many = measure_shift(normal(400, seed=1, dimension=32), old, held_out)
    assert few.images == 20
    assert few.too_few
    assert few.frechet_distance > 5 * many.frechet_distance
    assert few.over_floor == pytest.approx(1.0, abs=0.35)


def test_more_new_images_than_held_out_ones():
    shift = measure_shift(normal(900, seed=1), normal(1000), normal(100, seed=2))
    assert shift.images == 100
    assert shift.floor_std == pytest.approx(0.0, abs=1e-9)  # every subset has all images


def test_the_seed_determines_the_result():
    sets = normal(300, seed=1), normal(500), normal(200, seed=2)
    assert measure_shift(*sets, seed=3) == measure_shift(*sets, seed=3)
    assert measure_shift(*sets, seed=3) != measure_shift(*sets, seed=4)


def test_a_floor_of_0_has_no_ratio():
    same = np.zeros((10, 3))
    assert measure_shift(same, same, same).over_floor is None


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="got 1 new, 10 for training and 5 held out"):
        measure_shift(normal(1), normal(10), normal(5))


def test_small_pixels_are_block_means():
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 24), dtype=np.uint8)
    blocks = images.reshape(3, 2, 8, 2, 8, 3).mean(axis=(3, 5)) / 255
    assert np.allclose(small_pixels(images), blocks.reshape(3, -1), atol=1e-6)


@pytest.mark.parametrize("side", [4, 8, 12, 20])
def test_small_pixels_of_a_flat_image_are_flat(side):
    images = np.full((1, 3, side, side), 51, dtype=np.uint8)
    assert np.allclose(small_pixels(images), 0.2)
    assert small_pixels(images).shape == (1, 3 * 64)
