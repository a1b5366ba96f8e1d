import pytest
import torch

from genai_core.models.protocol import to_uint8
from genai_core.training.sliced import SlicedDistance


def images(count=64, channels=1, size=16, seed=0, **changes):
    """Soft blobs at random positions."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand((count, channels, 2, 1, 1), generator=generator) * size
    across = torch.arange(size).float()
    squared = (across[None, :] - centre[:, :, 0]) ** 2 + (across[:, None] - centre[:, :, 1]) ** 2
    blobs = torch.exp(-squared / changes.get("width", 8.0)) * 2 - 1
    return to_uint8(blobs + changes.get("brightness", 0.0))


def test_rectangles_have_the_sizes_of_their_shorter_side():
    reference = images(size=32)[:, :, :16]
    distance = SlicedDistance(reference)
    assert len(distance._reference) == 2  # 16 x 32 and 8 x 16
    assert distance(reference.flip(0)) == 0.0
    assert distance(images(size=32, seed=1, brightness=0.3)[:, :, :16]) > 0


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 20), (1, 32)])
def test_the_distance_of_a_set_to_itself_is_0_in_any_order(channels, size):
    reference = images(channels=channels, size=size)
    distance = SlicedDistance(reference)
    assert distance(reference) == 0.0
    assert distance(reference[torch.randperm(64)]) == 0.0


def test_similar_images_are_closer_than_different_ones():
    distance = SlicedDistance(images(seed=0))
    like = distance(images(seed=1))
    assert like > 0
    for unlike in (images(seed=1, brightness=0.3), images(seed=1, width=20.0), images(1, seed=1).repeat(64, 1, 1, 1)):
        assert distance(unlike) > 2 * like
    noise = torch.randint(0, 256, (64, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert distance(noise) > 2 * like


def test_the_distance_of_a_brightness_shift_has_a_closed_form():
    """Every projection moves by the sum of its filter times the shift, so the distance is known."""
    black, grey = torch.zeros((4, 1, 8, 8), dtype=torch.uint8), torch.full((4, 1, 8, 8), 51, dtype=torch.uint8)
    distance = SlicedDistance(black)
    sums = distance._filters.sum(dim=(1, 2, 3)).abs().mean()
    assert distance(grey) == pytest.approx(float(sums) * 0.4, rel=1e-4)


def test_a_different_number_of_images_is_refused():
    with pytest.raises(ValueError, match="expected 64 images, as many as in the reference, got 10"):
        SlicedDistance(images())(images(10))
