"""Muon: updates with equal singular values."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from genai_core.models.artifact import build_model
from genai_core.training.loop import TrainingStoppedError
from genai_core.training.muon import Muon, divided, inner_matrices, orthogonalised
from genai_core.training.run import begin
from tests.models.tiny import SHAPE, diffusion_recipe, training_config
from tests.training.small_run import after, model_of, run, same_weights


@pytest.mark.parametrize("shape", [(2, 40, 90), (2, 90, 40)])
def test_singular_values_become_one_and_their_vectors_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrices, torch.float32)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    values = left.mT @ found @ right.mT
    diagonal = values.diagonal(dim1=-2, dim2=-1)
    assert diagonal.min() > 0.65
    assert diagonal.max() < 1.25
    assert (values - torch.diag_embed(diagonal)).abs().max() < 1e-4


def test_a_gradient_of_zeros_moves_nothing():
    assert not orthogonalised(torch.zeros(1, 32, 40), torch.bfloat16).any()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_weights_that_had_no_part_in_a_batch_stay(weight_decay):
    """The momentum that is left would make a whole step, each time, for ever."""
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(32, 32, bias=False) for _ in range(2))
    groups = [{"params": list(layers.parameters())}]
    optimizer = Muon(groups, inner_matrices(layers), torch.float32, lr=1e-2, weight_decay=weight_decay)
    weights = []
    for both in (True, False, False, True):
        outputs = [layer(torch.randn(4, 32)).square().mean() for layer in layers]
        (outputs[0] + (1.0 if both else 0.0) * outputs[1]).backward()
        optimizer.step()
        optimizer.zero_grad()
        weights.append([layer.weight.detach().clone() for layer in layers])
    moved = [[not torch.equal(one, other) for one, other in zip(*pair, strict=True)] for pair in pairwise(weights)]
    assert moved == [[True, False], [True, False], [True, True]]


def test_the_steps_are_those_of_torch():
    """torch.optim.Muon takes matrices only, and always computes in bf16."""
    torch.manual_seed(0)
    ours = nn.Linear(64, 48)
    torchs = copy.deepcopy(ours)
    start = ours.weight.detach().clone()
    settings = {"lr": 1e-2, "weight_decay": 0.1}
    optimizers = [
        Muon([{"params": list(ours.parameters())}], inner_matrices(ours), torch.bfloat16, **settings),
        torch.optim.Muon([torchs.weight], adjust_lr_fn="match_rms_adamw", **settings),
        torch.optim.AdamW([torchs.bias], **settings),
    ]
    for _ in range(5):
        images = torch.randn(32, 64)
        for layer in (ours, torchs):
            layer(images).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    moved, other = (layer.weight.detach() - start for layer in (ours, torchs))
    assert (moved - other).norm() < 0.05 * other.norm()  # of the roundings of bf16
    torch.testing.assert_close(ours.bias, torchs.bias, rtol=0.0, atol=2e-4)


def test_a_convolution_is_a_matrix_of_its_outputs():
    torch.manual_seed(0)
    convolution = nn.Conv2d(32, 40, 3, bias=False).to(memory_format=torch.channels_last)
    matrix = nn.Linear(32 * 9, 40, bias=False)
    with torch.no_grad():
        matrix.weight.copy_(convolution.weight.flatten(1))
    gradient = torch.randn(40, 32, 3, 3)
    for layer in (convolution, matrix):
        layer.weight.grad = gradient.reshape(layer.weight.shape)
        Muon([{"params": [layer.weight]}], inner_matrices(layer), torch.float32, lr=0.1).step()
    torch.testing.assert_close(convolution.weight.flatten(1), matrix.weight)


def test_it_trains_inner_layers_only():
    recipe = diffusion_recipe()
    network = build_model(
        recipe.model_copy(update={"network": recipe.network.model_copy(update={"width": 32})}), SHAPE
    ).network
    found = {id(parameter) for parameter in inner_matrices(network)}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in found}
    assert {"middle.conv1.weight", "middle.attention.qkv.weight", "down.0.0.modulation.weight"} <= names
    others = {"stem.weight", "output.weight", "thin.weight", "class_embedding.weight", "middle.conv1.bias"}
    assert not names & others


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole, stopped = model_of(), model_of()
    run(whole, tmp_path / "whole", muon=True)
    with pytest.raises(TrainingStoppedError):
        run(stopped, tmp_path / "stopped", muon=True, stop_requested=after(3))
    run(stopped, tmp_path / "stopped", muon=True)
    assert same_weights(whole, stopped)
    other = model_of()
    run(other, tmp_path / "other")
    assert not same_weights(whole, other)


def test_a_training_can_begin_with_the_momentum_of_another(tmp_path):
    model = model_of()
    moments = run(model, tmp_path, muon=True).moments
    again = begin(model, training_config(muon=True), 8, moments=moments)
    (optimizer,) = again.optimizers.values()
    matrices = {name: parameter for name, parameter in model.named_parameters() if optimizer.is_matrix(parameter)}
    assert matrices
    for name, matrix in matrices.items():
        assert torch.equal(optimizer.state[matrix]["momentum"], moments[f"denoiser/{name}/momentum"])
    # AdamW can do nothing with a momentum alone.
    adam = begin(model, training_config(), 8, moments=moments).optimizers["denoiser"]
    assert not matrices.keys() & {name for name, parameter in model.named_parameters() if parameter in adam.state}


def test_processes_share_the_work_evenly():
    costs = [9, 5, 4, 4, 1, 1]
    owners = divided(costs, 2)
    loads = [sum(cost for cost, owner in zip(costs, owners, strict=True) if owner == rank) for rank in (0, 1)]
    assert loads == [13, 11]
    assert divided(costs, 1) == [0] * 6
