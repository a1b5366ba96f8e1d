import pytest
import torch

from genai_core.image_size import ImageSize
from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.networks.norm import GroupNorm


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, 1), (8, 1), (24, 3), (64, 8), (60, 6), (84, 7), (108, 12), (132, 12), (13, 1)]
)
def test_groups_have_8_channels_or_a_few_more(channels, groups):
    assert GroupNorm(channels).num_groups == groups


@pytest.mark.parametrize(("image_size", "width"), [(8, 40), (12, 56)])
def test_every_accepted_width_fits_a_network_of_one_level(image_size, width):
    """Its level has 1.5 times the width: 60 and 84 channels, which have no groups of 8."""
    images = torch.zeros(1, 1, image_size, image_size)
    assert UNet(ImageSize.square(image_size), 1, 0, width, 1)(images, torch.zeros(1), None).shape == images.shape
