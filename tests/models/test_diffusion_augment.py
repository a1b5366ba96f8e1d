import torch

from genai_core.models.networks.diffusion.augment import augment

ALL = ("flip", "translation", "scale")


def generator():
    return torch.Generator().manual_seed(0)


def test_share_0_or_no_operation_changes_nothing():
    images = torch.randn(4, 3, 8, 8)
    for operations, share in ((ALL, 0.0), ((), 1.0)):
        augmented = augment(images, operations, share, generator())
        torch.testing.assert_close(augmented.images, images)
        assert torch.equal(augmented.parameters, torch.zeros(4, 4))


def test_a_flip_is_a_mirror_image():
    images = torch.randn(4, 3, 8, 8)
    augmented = augment(images, ("flip",), 1.0, generator())
    torch.testing.assert_close(augmented.images, images.flip(3))
    assert augmented.parameters[:, 0].tolist() == [1, 1, 1, 1]


def test_the_parameters_give_the_translation():
    images = torch.zeros(50, 1, 16, 16)
    images[:, 0, 8, 8] = 1.0
    augmented = augment(images, ("translation",), 1.0, generator())
    places = augmented.images.flatten(1).argmax(dim=1)
    moved = augmented.parameters[:, 1:3] * 2  # parameter 1: an eighth of the side, 2 pixels
    torch.testing.assert_close(places % 16 - 8.0, moved[:, 0])
    torch.testing.assert_close(places // 16 - 8.0, moved[:, 1])
    torch.testing.assert_close(augmented.images.sum(dim=(1, 2, 3)), torch.ones(50))
    assert len(places.unique()) > 15  # of 25


def test_a_rectangle_moves_by_an_eighth_of_each_side():
    images = torch.zeros(400, 1, 16, 40)
    images[:, 0, 8, 20] = 1.0
    augmented = augment(images, ("translation",), 1.0, generator())
    places = augmented.images.flatten(1).argmax(dim=1)
    right, down = places % 40 - 20.0, places // 40 - 8.0
    torch.testing.assert_close(right, augmented.parameters[:, 1] * 5)
    torch.testing.assert_close(down, augmented.parameters[:, 2] * 2)
    assert sorted(right.unique().tolist()) == list(range(-5, 6))
    assert sorted(down.unique().tolist()) == list(range(-2, 3))


def test_a_larger_scale_enlarges():
    images = -torch.ones(50, 1, 64, 64)
    images[:, :, 16:48, 16:48] = 1.0
    augmented = augment(images, ("scale",), 1.0, generator())
    sizes, scales = (augmented.images > 0).sum(dim=(1, 2, 3)).float(), augmented.parameters[:, 3]
    assert torch.corrcoef(torch.stack([sizes, scales]))[0, 1] > 0.95


def test_each_operation_has_the_given_share():
    augmented = augment(torch.randn(2000, 1, 8, 8), ALL, 0.25, generator())
    done = (augmented.parameters != 0).float().mean(dim=0)
    torch.testing.assert_close(done[[0, 3]], torch.tensor([0.25, 0.25]), atol=0.03, rtol=0)
