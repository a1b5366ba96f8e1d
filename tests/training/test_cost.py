import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from genai_core.training.cost import _Counter, count_cost
from tests.models.tiny import RECIPES
from tests.training.small_run import model_of

FAMILIES = sorted(RECIPES)


def test_counts_agree_with_torchs_flop_counter():
    model = model_of("gan")
    with FlopCounterMode(display=False) as counter:
        model.sample(torch.tensor([0]), torch.tensor([0]), model.preview_sampling)
    cost = count_cost(model, 4)
    assert cost.sampling_flops == counter.get_total_flops() > 0
    assert cost.parameters == sum(p.numel() for p in model.generator.parameters())
    assert cost.training_parameters == sum(p.numel() for p in model.parameters())


def test_a_backward_pass_costs_twice_the_forward_pass():
    """Slightly less: the first layer needs no gradient of its input."""
    model = model_of()
    forward = (
        count_cost(model, 4).sampling_flops / 3 / 2
    )  # two Heun steps are three evaluations, each doubled by guidance
    assert 2.7 * forward < count_cost(model, 4).training_flops["denoiser"] < 3.0 * forward


def test_second_order_gradients_are_counted():
    one, other = (count_cost(model_of("gan", penalty_share=share), 4).training_flops for share in (0.25, 1.0))
    assert other["discriminator"] > 1.3 * one["discriminator"]
    assert other["generator"] == one["generator"]


def test_the_cost_of_penalties_is_proportional_to_their_images():
    """Penalties on 2, 4 and 8 of 32 images."""
    two, four, eight = (
        count_cost(model_of("gan", penalty_share=count / 32), 32).training_flops["discriminator"] for count in (2, 4, 8)
    )
    assert four - two == pytest.approx((eight - four) / 2, rel=0.01)
    assert two < four


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_unchanged(family):
    model = model_of(family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_cost(model, 4)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_attention_is_counted():
    """Two products of 8 x 8 x 4 forward, five backward."""
    counter, query = _Counter(), torch.randn(1, 1, 8, 4, requires_grad=True)
    with counter:
        attended = nn.functional.scaled_dot_product_attention(query, query, query)
        assert counter.flops == 2 * (2 * 8 * 8 * 4)
        attended.sum().backward()
    assert counter.flops == 7 * (2 * 8 * 8 * 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_without_values_equal_those_with_values(family, monkeypatch):
    """Equal up to the attention kernels, which differ between meta tensors and real ones."""
    model = model_of(family)
    real_to, devices = type(model).to, []

    def refuse_meta(self, device):
        devices.append(device)
        if device == "meta" and refuses:
            raise NotImplementedError
        return real_to(self, device)

    monkeypatch.setattr(type(model), "to", refuse_meta)
    refuses = False
    quick = count_cost(model, 4)
    assert set(devices) == {"meta"}
    refuses = True
    slow = count_cost(model, 4)
    assert slow.sampling_flops == quick.sampling_flops
    assert slow.training_flops == pytest.approx(quick.training_flops, rel=0.02)
