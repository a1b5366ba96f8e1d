import pytest
import torch

from genai_core.models.networks.gan.diffaugment import _cutout, _shift_matrices, _translation, diff_augment


def generator():
    return torch.Generator().manual_seed(0)


def test_an_empty_policy_changes_nothing():
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(diff_augment(images, (), generator()), images)


def test_a_shift_matrix_moves_a_column_down():
    column = torch.arange(1.0, 5.0)[None, :, None]
    assert (_shift_matrices(4, torch.tensor([1])) @ column).flatten().tolist() == [0, 1, 2, 3]
    assert (_shift_matrices(4, torch.tensor([-2])) @ column).flatten().tolist() == [3, 4, 0, 0]


def test_translation_moves_by_whole_pixels_up_to_an_eighth():
    images = torch.zeros(200, 2, 16, 16)
    images[:, 0, 8, 8], images[:, 1, 8, 8] = 1.0, 2.0
    moved = _translation(images, generator())
    first, second = moved[:, 0].flatten(1), moved[:, 1].flatten(1)
    assert torch.equal(second, 2 * first)
    places = first.argmax(dim=1)
    assert torch.equal(first.sum(dim=1), torch.ones(200))
    for offsets in (places // 16 - 8, places % 16 - 8):
        assert sorted(set(offsets.tolist())) == [-2, -1, 0, 1, 2]


def test_cutout_blanks_a_square_of_half_the_side_or_less_at_the_border():
    holes = (_cutout(torch.ones(300, 1, 8, 8), generator()) == 0)[:, 0]
    rows, columns = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(holes.sum(dim=(1, 2)), rows * columns)
    assert int(rows.max()) == 4
    assert int(rows.min()) == 2


@pytest.mark.parametrize("policy", [("translation",), ("cutout",), ("colour",), ("translation", "cutout", "colour")])
def test_gradients_pass_through(policy):
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    changed = diff_augment(images, policy, generator())
    changed.square().sum().backward()
    assert changed.shape == images.shape
    assert images.grad.abs().sum() > 0


def test_colour_is_an_increasing_linear_map_on_grey_images():
    images = torch.randn(8, 1, 8, 8)
    changed = diff_augment(images, ("colour",), generator())
    # Brightness and contrast are a linear map per image, with a positive factor.
    for before, after in zip(images.flatten(1), changed.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.999
