"""Low-rank changes: nothing at the start, an ordinary model at the end."""

import pytest
import torch

from genai_core.models.adapting.lora import LowRank, add_lora, merge_lora
from genai_core.models.artifact import build_model
from genai_core.models.protocol import to_unit
from genai_core.training.rates import learning_rates
from tests.models.tiny import SHAPE, diffusion_recipe, gan_recipe, vae_recipe, vqvae_recipe

RECIPES = [diffusion_recipe(), gan_recipe(), vae_recipe(), vqvae_recipe()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.family)
def test_merged_changes_draw_what_they_drew_before(recipe) -> None:
    torch.manual_seed(0)
    model = build_model(recipe, SHAPE)
    names, before = list(model.state_dict()), drawn(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = add_lora(model, 2, 4.0, learning_rates(model, 1.0, ()))
    assert torch.equal(drawn(model), before)  # the changes start at zero
    assert all("parametrizations" in name or "class_embedding" in name or "start" in name for name in trained)

    parameters = dict(model.named_parameters())
    images, labels = to_unit(torch.randint(0, 255, (4, 1, 8, 8))), torch.tensor([0, 1, 2, 0])
    phase = model.phases[-1]
    model.train().loss(phase, images, labels, torch.Generator().manual_seed(0)).value.backward()
    assert any(parameters[name].grad is not None for name in trained if name.endswith(".up"))
    with torch.no_grad():
        for name in trained:
            if name.endswith(".up"):
                parameters[name].add_(torch.randn_like(parameters[name]) * 0.05)
    changed = drawn(model)
    merge_lora(model)
    assert sorted(model.state_dict()) == sorted(names)
    assert (drawn(model).int() - changed.int()).abs().max() <= 1
    for name, tensor in model.state_dict().items():
        ranks = [torch.linalg.matrix_rank((tensor - weights[name]).flatten(1))] if tensor.dim() > 1 else []
        assert all(rank <= 2 for rank in ranks), name


def test_a_layer_that_is_frozen_gets_no_change() -> None:
    model = build_model(diffusion_recipe(), SHAPE)
    trained = add_lora(model, 2, 2.0, learning_rates(model, 1.0, ("network.down.*",)))
    assert trained
    assert not any(name.startswith("network.down.") for name in trained)


def drawn(model):
    labels = torch.arange(3)
    return model.eval().sample(labels, labels, model.preview_sampling)


def test_all_layers_have_the_scale_that_rank_and_alpha_say() -> None:
    """Also a layer with one row, whose change cannot have a higher rank."""
    for rows in (1, 64):
        change = LowRank(torch.zeros(rows, 64), rank=8, alpha=4.0)
        assert (change.scale, len(change.down)) == (0.5, min(rows, 8))
