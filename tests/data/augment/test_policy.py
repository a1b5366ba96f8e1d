import numpy as np
import pytest
import torch

from genai_core.config import CropConfig, FlipConfig, MoveConfig
from genai_core.data.augment import policy
from genai_core.data.augment.policy import augment_images, policy_steps, seed_of
from genai_core.image_size import ImageSize


def copies_of(image, count, config):
    """Copies 1, 2, ... of one image (C, H, W)."""
    return augment_images(np.repeat(image[None], count, axis=0), ["id"] * count, list(range(1, count + 1)), config)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(60, 200, (3, 16, 16), dtype=np.uint8)


def test_none_repeats_the_image(photo, augment_config):
    assert (copies_of(photo, 3, augment_config(policy=())) == photo).all()


@pytest.mark.parametrize(
    ("horizontal", "vertical", "expected"), [(True, False, "h"), (False, True, "v"), (True, True, "hv")]
)
def test_flips_are_the_configured_ones_half_of_the_time(horizontal, vertical, expected, photo, augment_config):
    config = augment_config(policy=("flip",), flip=FlipConfig(horizontal=horizontal, vertical=vertical))
    sides = {"": photo, "h": photo[:, :, ::-1], "v": photo[:, ::-1], "hv": photo[:, ::-1, ::-1]}
    copies = copies_of(photo, 400, config)
    counts = {name: int((copies == side).all(axis=(1, 2, 3)).sum()) for name, side in sides.items()}
    possible = {"", expected} if len(expected) == 1 else set(sides)
    assert {name for name, count in counts.items() if count} == possible
    assert sum(counts.values()) == 400
    # Four standard deviations of a binomial count with p = 1/2 or 1/4.
    assert all(abs(counts[name] - 400 / len(possible)) < 40 for name in possible)


def test_the_projects_own_policy_flips_nothing(augment_config):
    assert "flip" not in augment_config().policy


def test_translations_are_uniform_in_the_configured_ranges(photo, augment_config, monkeypatch):
    drawn = []

    def warp(image, *, angle_degrees, shift_px, scale):
        drawn.append((angle_degrees, *shift_px, scale))
        return image

    monkeypatch.setattr(policy, "warp", warp)
    move = MoveConfig(rotate_degrees=10.0, translate_share=0.25, zoom_share=0.5)
    copies_of(photo, 4000, augment_config(policy=("move",), move=move))
    for values, half, middle in zip(np.array(drawn).T, (10, 4, 4, 0.5), (0, 0, 0, 1), strict=True):
        assert np.abs(values - middle).max() <= half
        # Mean and standard deviation of a uniform distribution, half / sqrt(3), at four standard errors.
        assert abs(values.mean() - middle) < 4 * half / 3**0.5 / 4000**0.5
        assert values.std() == pytest.approx(half / 3**0.5, rel=0.04)


def test_translations_are_shares_of_width_and_height(augment_config, monkeypatch):
    drawn = []
    monkeypatch.setattr(policy, "warp", lambda image, *, shift_px, **_: drawn.append(shift_px) or image)
    move = MoveConfig(rotate_degrees=0.0, translate_share=0.25, zoom_share=0.0)
    copies_of(np.zeros((1, 8, 32), dtype=np.uint8), 1000, augment_config(policy=("move",), move=move))
    right, down = np.abs(drawn).max(axis=0)
    assert 7.5 < right <= 8
    assert 1.8 < down <= 2


def test_a_crop_without_change_of_aspect_is_a_part_of_the_same_shape(augment_config):
    # Ramps to the right and down: their spans in a crop are its width and height.
    right = np.tile(np.linspace(0, 255, 64), (32, 1))
    down = np.tile(np.linspace(0, 255, 32)[:, None], (1, 64))
    image = np.stack([right, down, down]).round().astype(np.uint8)
    crop = CropConfig(min_area_share=0.49, max_aspect_ratio=1.0)
    copies = copies_of(image, 100, augment_config(policy=("crop",), crop=crop)).astype(int)
    across = copies[:, 0, 16, -1] - copies[:, 0, 16, 0]
    along = copies[:, 1, -1, 32] - copies[:, 1, 0, 32]
    assert np.abs(across - along).max() < 12
    assert across.min() < 200


def test_crops_have_at_least_the_configured_area(augment_config):
    # A ramp: the range of levels in a crop gives its size.
    plane = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (1, 64, 1))
    crop = CropConfig(min_area_share=0.49, max_aspect_ratio=1.0)
    copies = copies_of(plane, 200, augment_config(policy=("crop",), crop=crop)).astype(int)
    spans = (copies[:, 0, 32, -1] - copies[:, 0, 32, 0]) / 255
    # A side of 0.7 to 1, up to whole pixels and the filter's width.
    assert 0.66 < spans.min() < 0.75
    assert spans.max() > 0.95
    assert np.ptp(copies[:, 0, 32, 0]) > 30


@pytest.mark.parametrize(("channels", "different"), [(3, True), (1, False)])
def test_saturation_and_hue_change_only_colour_images(channels, different, photo, augment_config):
    config = augment_config(policy=("colour",))
    colour = config.colour.model_copy(update={"brightness": 0.0, "contrast": 0.0, "saturation": 0.5, "hue": 0.2})
    copies = copies_of(photo[:channels], 8, config.model_copy(update={"colour": colour}))
    assert (copies != photo[:channels]).any() == different


def test_brightness_is_a_factor_in_the_configured_range(augment_config):
    image = np.full((1, 8, 8), 100, dtype=np.uint8)
    config = augment_config(policy=("colour",))
    colour = config.colour.model_copy(update={"brightness": 0.2, "contrast": 0.0})
    levels = copies_of(image, 300, config.model_copy(update={"colour": colour}))[:, 0, 0, 0]
    assert 80 <= levels.min() < 84
    assert 116 < levels.max() <= 120


def test_steps_are_applied_in_the_order_of_the_policy(photo, augment_config):
    config = augment_config(policy=("colour", "flip", "crop"))
    steps = policy_steps(config, ImageSize.square(16))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(config.seed, "id", 1))
        image = torch.from_numpy(photo)
        for step in steps:
            image = step(image)
    assert (image.numpy() == copies_of(photo, 1, config)[0]).all()
    other = config.model_copy(update={"policy": ("crop", "flip", "colour")})
    assert (copies_of(photo, 1, other) != copies_of(photo, 1, config)).any()


def test_torchs_generator_and_threads_are_unchanged(photo, augment_config):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    copies_of(photo, 2, augment_config(policy=("flip", "crop", "randaugment")))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
