import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from genai_core.data.augment.randaugment import LEVELS, OPERATIONS, randaugment

# Our names to torchvision's.
THEIRS = {
    "identity": "Identity",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "rotate": "Rotate",
    "shift_x": "TranslateX",
    "shift_y": "TranslateY",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
}
MOVES = ("rotate", "shift_x", "shift_y", "shear_x", "shear_y")


def pictures(channels, ground=None):
    """Noise, or a blob of noise on a plain background."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (channels, 24, 24), dtype=np.uint8)
    if ground is not None:
        image[:, :8] = image[:, 16:] = image[:, :, :8] = image[:, :, 16:] = ground
    return torch.from_numpy(image)


class TheirsOnly(v2.RandAugment):
    """torchvision's own RandAugment that always draws one operation."""

    def __init__(self, name, magnitude):
        super().__init__(num_ops=1, magnitude=magnitude, interpolation=v2.InterpolationMode.BILINEAR)
        self._AUGMENTATION_SPACE = {THEIRS[name]: v2.RandAugment._AUGMENTATION_SPACE[THEIRS[name]]}


def test_operations_are_those_of_the_paper():
    assert set(OPERATIONS) == set(THEIRS)
    assert set(THEIRS.values()) == set(v2.RandAugment._AUGMENTATION_SPACE)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [9, 30])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in MOVES])
def test_colours_change_as_in_torchvision(name, magnitude, channels):
    image = pictures(channels)
    ours = [OPERATIONS[name](image, sign * magnitude / LEVELS).int() for sign in (1, -1)]
    with torch.random.fork_rng(devices=[]):
        theirs = [TheirsOnly(name, magnitude)(image).int() for _ in range(16)]
    # One level is rounding: their strengths are 32-bit.
    for some, others in ((ours, theirs), (theirs, ours)):
        assert all(min(int((one - other).abs().max()) for other in others) <= 1 for one in some)


@pytest.mark.parametrize("name", ["rotate", "shift_x", "shift_y"])
def test_geometry_agrees_with_torchvision_on_a_black_background(name):
    # torchvision truncates shifts to whole pixels, ours does not: magnitude 30 of 24 pixels is 10.88.
    image = pictures(1, ground=0)
    ours = [OPERATIONS[name](image, sign * 1.0).double() for sign in (1, -1)]
    with torch.random.fork_rng(devices=[]):
        theirs = [TheirsOnly(name, 30)(image).double() for _ in range(16)]
    middles = np.arange(24)

    def centre(picture):
        total = picture.sum()
        return np.array([(picture[0].sum(dim=axis).numpy() * middles).sum() / total for axis in (0, 1)])

    for mine in ours:
        assert min(np.abs(centre(mine) - centre(other)).max() for other in theirs) < 1.0
    if name == "rotate":
        assert all(min((mine - other).abs().max() for other in theirs) <= 2 for mine in ours)


def test_shifts_are_shares_of_width_and_height():
    image = torch.zeros(1, 12, 36, dtype=torch.uint8)
    image[:, 4:8, 12:24] = 200
    right, down = OPERATIONS["shift_x"](image, 0.5), OPERATIONS["shift_y"](image, 0.5)
    share = 0.5 * 150 / 331
    assert moved(image, right) == pytest.approx((36 * share, 0.0), abs=0.1)
    assert moved(image, down) == pytest.approx((0.0, 12 * share), abs=0.1)


def moved(before, after):
    """How far the centre of mass moved to the right and down."""
    centres = [
        np.array([(image[0].float().sum(dim=axis) * torch.arange(side)).sum() / image.sum() for axis, side in SIDES])
        for image in (before, after)
    ]
    return tuple((centres[1] - centres[0]).tolist())


SIDES = ((0, 36), (1, 12))


def test_a_white_background_stays_white():
    image = pictures(3, ground=255)
    for name in MOVES:
        for strength in (-0.6, 0.4):
            result = OPERATIONS[name](image, strength)
            ring = torch.cat([result[:, 0], result[:, :, 0]], dim=1)
            assert (ring == 255).all(), name


def test_operations_are_sampled_uniformly(monkeypatch):
    drawn = []
    for name in OPERATIONS:
        monkeypatch.setitem(
            OPERATIONS, name, lambda image, strength, name=name: drawn.append((name, strength)) or image
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        randaugment(torch.zeros(1, 8, 8, dtype=torch.uint8), 2800, 15)
    counts = np.array([sum(1 for name, _ in drawn if name == operation) for operation in OPERATIONS])
    # 200 each; five standard deviations of a binomial count, sqrt(2800 p (1 - p)) = 13.6.
    assert np.abs(counts - 200).max() < 68
    assert {abs(strength) for _, strength in drawn} == {0.5}
    assert 0.45 < np.mean([strength > 0 for _, strength in drawn]) < 0.55
