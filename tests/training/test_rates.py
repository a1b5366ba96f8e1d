"""Learning rates by layer, and frozen weights: what is promised is what the optimizer does."""

import pytest
import torch

from genai_core.models.artifact import build_model
from genai_core.training.rates import FrozenError, learning_rates
from genai_core.training.run import begin
from tests.models.tiny import SHAPE, diffusion_recipe, gan_recipe, training_config, vqvae_recipe
from tests.training.small_run import run as train_small


def test_early_layers_learn_slower_in_the_order_in_which_they_run() -> None:
    model = build_model(diffusion_recipe(), SHAPE)
    rates = learning_rates(model, 0.1, ())
    assert set(rates) == {name for name, _ in model.named_parameters()}
    assert rates["network.noise_embedding.layers.0.weight"] == pytest.approx(0.1)
    assert rates["network.output.weight"] == 1.0
    assert rates["network.class_embedding.weight"] == 1.0  # what is new about a class is there
    assert learning_rates(model, 0.1, (), class_rate=10.0) == {**rates, "network.class_embedding.weight": 10.0}
    path = ["network.stem", "network.down.0.0.conv1", "network.middle.conv1", "network.up.0.0.conv2", "network.head"]
    along = [rates[f"{name}.weight"] for name in path]
    assert along == sorted(along)
    assert len(set(along)) == len(along)


def test_each_phase_has_its_own_first_layer() -> None:
    rates = learning_rates(build_model(gan_recipe(), SHAPE), 0.5, ())
    assert rates["discriminator.stem.weight"] == pytest.approx(0.5)
    assert rates["discriminator.score.weight"] == rates["generator.output.weight"] == 1.0
    assert rates["generator.basis"] == pytest.approx(0.5)


def test_frozen_weights_do_not_change_and_others_learn_at_their_rate(tmp_path) -> None:
    torch.manual_seed(0)
    model = build_model(diffusion_recipe(), SHAPE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rates = {"network.output.weight": 1.0, "network.head.weight": 1e-3}
    train_small(model, tmp_path, rates=rates)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(rates)
    # Adam's steps have about the size of the learning rate, whatever the gradient.
    moved = {name: float((model.state_dict()[name] - before[name]).abs().max()) for name in rates}
    assert moved["network.head.weight"] < 0.02 * moved["network.output.weight"]


def test_a_phase_without_weights_is_skipped_from_the_first_step_on() -> None:
    model = build_model(vqvae_recipe(), SHAPE)
    assert model.phases_at(0.0) == ("tokenizer",)
    run = begin(model, training_config(), 8, learning_rates(model, 1.0, ("network.tokenizer.*",)))
    assert run.phases_at(0.0) == run.phases_at(1.0) == ["prior"]


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        ("down.*", r"down\.\* fits no weights of this model; its parts are discriminator\.\w+\.\*, "),
        ("discriminator.*", r"leaves nothing of the discriminator to train"),
    ],
)
def test_patterns_that_cannot_be_meant(frozen: str, message: str) -> None:
    with pytest.raises(FrozenError, match=message):
        learning_rates(build_model(gan_recipe(), SHAPE), 1.0, (frozen,))
