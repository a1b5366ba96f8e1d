"""A training that begins with the optimizer of an earlier one."""

import pytest
import torch

from genai_core.training.moments import moments_of, restore_moments, weights_in, without_weights
from genai_core.training.run import begin
from tests.models.tiny import training_config
from tests.training.small_run import model_of, run, same_weights


@pytest.mark.parametrize("family", ["diffusion", "gan"])
def test_begins_where_the_other_ended(tmp_path, family):
    model = model_of(family)
    moments = run(model, tmp_path).moments
    assert weights_in(moments) == {name for name, _ in model.named_parameters()}
    again = begin(model, training_config(), 8, moments=moments)
    found = moments_of(model, again.optimizers)
    assert found.keys() == moments.keys()
    assert all(torch.equal(found[key], moments[key]) for key in found)
    for optimizer in again.optimizers.values():
        for parameter, state in optimizer.state.items():
            assert state["exp_avg"].stride() == parameter.stride()  # the fused step reads them side by side


def test_the_next_steps_differ_from_those_of_a_fresh_optimizer(tmp_path):
    first = model_of()
    moments = run(first, tmp_path / "first").moments
    models = []
    for name, given in (("fresh", None), ("restored", moments), ("again", moments)):
        models.append(model_of())
        models[-1].load_state_dict(first.state_dict())
        run(models[-1], tmp_path / name, moments=given)
    assert not same_weights(models[0], models[1])
    assert same_weights(models[1], models[2])


def test_weights_without_moments_start_fresh(tmp_path):
    model = model_of()
    name = "network.class_embedding.weight"
    moments = without_weights(run(model, tmp_path).moments, [name])
    again = begin(model, training_config(), 8, moments=moments)
    assert model.get_parameter(name) not in again.optimizers["denoiser"].state
    assert weights_in(moments_of(model, again.optimizers)) == weights_in(moments)


def test_moments_of_another_shape_are_an_error(tmp_path):
    model = model_of()
    moments = dict(run(model, tmp_path).moments)
    key = "denoiser/network.class_embedding.weight/exp_avg"
    moments[key] = moments[key][:-1]
    optimizers = begin(model, training_config(), 8).optimizers
    with pytest.raises(ValueError, match="not the optimizer of this model"):
        restore_moments(model, optimizers, moments)
