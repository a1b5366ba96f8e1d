import numpy as np

from genai_core.data.looking.mirrored import LEAST_IMAGES, mirrored_accuracy


def images(count: int, *, mirrored: float) -> np.ndarray:
    """Bright corners (count, 3, 32, 32) at the left, noisy; each mirrored with this probability."""
    generator = np.random.default_rng(0)
    found = generator.integers(0, 100, (count, 3, 32, 32))
    found[:, :, 4:14, 2:12] += 100
    flipped = generator.random(count) < mirrored
    found[flipped] = found[flipped][..., ::-1]
    return found.astype(np.uint8)


def test_images_that_point_to_one_side_are_told_from_their_mirror_images() -> None:
    accuracy = mirrored_accuracy(images(150, mirrored=0.0))
    assert accuracy is not None
    assert accuracy > 0.95


def test_images_that_point_to_either_side_are_not() -> None:
    accuracy = mirrored_accuracy(images(300, mirrored=0.5))
    assert accuracy is not None
    assert accuracy < 0.6


def test_symmetric_images_are_a_coin_flip() -> None:
    half = images(120, mirrored=0.0)
    both = (half.astype(np.int64) + half[..., ::-1]) // 2
    accuracy = mirrored_accuracy(both.astype(np.uint8))
    assert accuracy is not None
    assert 0.35 < accuracy < 0.65


def test_few_images_say_nothing() -> None:
    assert mirrored_accuracy(images(LEAST_IMAGES - 1, mirrored=0.0)) is None
