from dataclasses import replace

import numpy as np
import pytest
import torch

from genai_core.exploring.population import one_hot, standard_noise
from genai_core.exploring.quick_draw import QUICK_STEPS, quick_draw, quick_sampling
from genai_core.model import load_model
from genai_core.models.artifact import build_model, save_model
from genai_core.models.diffusion import Diffusion
from tests.models.tiny import RECIPES, SHAPE


@pytest.fixture(scope="module", params=sorted(RECIPES))
def model(request, tmp_path_factory):
    torch.manual_seed(0)
    folder, recipe = tmp_path_factory.mktemp(request.param), RECIPES[request.param]()
    save_model(folder, build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary={})
    return load_model(folder, device="cpu")


def test_pictures_are_those_of_the_model_with_quick_options(model):
    noise, labels = standard_noise(7, model.network.noise_shape, 3), np.arange(7) % 3
    images = quick_draw(model, batch_images=3)(noise, one_hot(labels, 3))
    expected = model.network.sample_from(
        torch.from_numpy(noise), torch.from_numpy(labels), quick_sampling(model.sampling)
    )
    assert images.shape == (7, *model.shape)
    # Batches and one-hot weights round differently, by a grey level.
    assert np.abs(images.astype(int) - expected.numpy().astype(int)).max() <= 1


def test_a_model_without_classes_needs_no_weights(tmp_path):
    shape, recipe = replace(SHAPE, classes=()), RECIPES["gan"]()
    save_model(tmp_path, build_model(recipe, shape), recipe, dataset="d" * 64, training_summary={})
    model = load_model(tmp_path, device="cpu")
    assert quick_draw(model)(standard_noise(2, model.network.noise_shape, 0), None).shape == (2, *model.shape)


def test_few_steps_stay_and_many_become_few():
    usual = Diffusion.preview_sampling
    quick = quick_sampling(usual)
    assert (quick.sampler, quick.steps, quick.guidance_scale) == ("multistep", QUICK_STEPS, 1.0)
    one = usual.model_copy(update={"sampler": "euler", "steps": 1, "noise_levels": (80.0,)})
    assert quick_sampling(one) == one.model_copy(update={"guidance_scale": 1.0})
