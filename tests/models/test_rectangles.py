"""Models of rectangular images learn as those of squares do."""

import pytest
import torch

from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.networks.diffusion.unet import Attention, UNet
from genai_core.models.protocol import ImageShape
from tests.models.overfit import learn, recall
from tests.models.tiny import diffusion_recipe, gan_recipe, vae_recipe, vqvae_recipe

RECTANGLES = [ImageSize(8, 12), ImageSize(12, 8)]
FEW_STEPS = {"steps": 8, "sigma_min": 0.02, "sigma_max": 20.0, "guidance_scale": 1.0}


@pytest.mark.parametrize(
    ("recipe", "size", "learning_rate", "steps", "betas", "distance"),
    [
        (diffusion_recipe(sigma_data=1.0), RECTANGLES[0], 1e-2, 120, (0.9, 0.99), 0.5),
        (gan_recipe(augment_policy=(), r1_gamma=0.1), RECTANGLES[1], 5e-3, 200, (0.0, 0.99), 0.75),
        (vae_recipe(), RECTANGLES[0], 1e-2, 200, (0.9, 0.99), 0.5),
        (vqvae_recipe(), RECTANGLES[1], 1e-2, 300, (0.9, 0.99), 0.35),
    ],
    ids=lambda value: getattr(value, "family", None),
)
def test_16_images_are_memorised(recipe, size, learning_rate, steps, betas, distance):
    model = build_model(recipe, ImageShape(size, 1, ()))
    learn(model, learning_rate, steps, betas)
    changes = FEW_STEPS if recipe.family == "diffusion" else {}
    found = recall(model, model.preview_sampling.model_copy(update=changes))
    assert found.distance < distance
    assert found.images > 7


@pytest.mark.parametrize(
    ("size", "attending"),
    [((16, 16), [4]), ((16, 24), [4]), ((24, 16), [4]), ((28, 64), [7]), ((32, 128), [4]), ((36, 36), [])],
)
def test_attention_is_where_the_shorter_side_is_at_most_7(size, attending):
    network = UNet(ImageSize(*size), 1, 0, 8, 1)
    maps = []
    for module in network.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda _module, inputs, _output: maps.append(min(inputs[0].shape[2:])))
    network(torch.zeros(1, 1, *size), torch.zeros(1), None)
    assert sorted(set(maps)) == attending


def test_tokens_follow_row_by_row():
    model = build_model(vqvae_recipe(), ImageShape(ImageSize(8, 12), 1, ()))
    network = model.network.eval()
    uniforms = torch.rand(1, 6, 2)
    drawn = network.prior.draw(uniforms, None, 1.0, None)
    codes = network.quantiser.to_codes(drawn.reshape(1, 2, 3, -1))
    expected = network.tokenizer.decode(codes)
    assert torch.equal(network(uniforms, None, 1.0, None), expected)
    assert expected.shape == (1, 1, 8, 12)
