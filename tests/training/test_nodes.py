"""Training on two machines: two processes over gloo that share no disk, and find each other as `genai run` has them."""

import io
import multiprocessing
import os
import socket
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from genai_core.data.dataset.loader import ResidentBatches
from genai_core.models.artifact import build_model
from genai_core.training.loop import TrainingStoppedError
from genai_core.training.ranks import Ranks, launch
from genai_core.training.run import begin
from genai_core.training.step import Stepper
from tests.models.tiny import RECIPES, SHAPE, diffusion_recipe, training_config
from tests.training.small_run import CPU, after, model_of, run

STEPS = 2


class Watched(Ranks):
    """Keeps the gradients that the optimizers are given."""

    def __init__(self, fabric):
        super().__init__(fabric)
        self.gradients = []

    def sum_gradients(self, parameters):
        parameters = list(parameters)
        super().sum_gradients(parameters)
        self.gradients += [each.grad.clone() for each in parameters if each.grad is not None]


def gradients(num_nodes):
    """The gradients of all models in two steps. The weights hardly move: Adam would enlarge rounding errors."""
    fabric = launch(CPU, "32-true", 1, num_nodes)
    models = {family: (model_of(family), np.arange(20) % 3) for family in RECIPES}
    recipe = model_of("diffusion").with_own_network(diffusion_recipe(), ("c",)).recipe
    of_two_networks = build_model(recipe, SHAPE)
    for parameter in of_two_networks.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    models["of two networks"] = (of_two_networks, np.arange(20) // 18 * 2)  # few of c: a part has none
    found = {}
    for family, (model, labels) in models.items():
        config = training_config(learning_rate=1e-12)
        ranks = Watched(fabric)
        images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
        batches = ResidentBatches(images, labels, batch_images=config.batch_images, seed=config.seed, device=CPU)
        training, part = begin(model.train(), config, len(ranks.part(config.batch_images))), ranks.part(8)
        stepper = Stepper(fabric, ranks, config)
        for step in range(STEPS):
            stepper.step(training, batches.at(step, part), step / 8)
            training.step += 1
        found[family] = ranks.gradients
    return found


def resumed(folder):
    """The weights after a training that goes on from the checkpoint in the folder, if there is one; its previews."""
    model = model_of("vae")
    result = run(model, folder, num_nodes=2)
    return model.state_dict(), result.is_first, [torch.from_numpy(drawn.images) for drawn in result.snapshots]


def with_muon(argument):
    """The weights that Muon has trained."""
    folder, precision = argument
    model = model_of("diffusion")
    run(model, Path(folder), num_nodes=2, muon=True, precision=precision)
    return model.state_dict()


def from_the_first(_):
    """A tensor that the first process alone owns: in the other, only its shape counts."""
    ranks = Ranks(launch(CPU, "32-true", 1, 2))
    own = torch.full((2, 3), 7.0, dtype=torch.bfloat16)
    return ranks.from_owners([own if ranks.is_first else own.new_empty(()).expand(2, 3)], [0])


def on_two_nodes(work, arguments):
    """What two processes return, each with an argument of its own. Forked: an import of torch takes seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork, ends = multiprocessing.get_context("fork"), []
    for rank, argument in enumerate(arguments):
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=node, args=(sender, rank, port, work, argument))
        process.start()
        sender.close()
        ends.append((process, receiver))
    found = [torch.load(io.BytesIO(receiver.recv_bytes()), weights_only=True) for _, receiver in ends]
    for process, _ in ends:
        process.join(30)
    for answer in found:
        assert "error" not in answer, answer["error"]
    return [answer["found"] for answer in found]


def node(sender, rank, port, work, argument):
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        NODE_RANK=str(rank),
        GLOO_SOCKET_IFNAME="lo",
        OMP_NUM_THREADS="1",
    )
    try:
        answer = {"found": work(argument)}
    except Exception:
        answer = {"error": traceback.format_exc()}
    buffer = io.BytesIO()
    torch.save(answer, buffer)
    sender.send_bytes(buffer.getvalue())
    os._exit(0)  # not the end of pytest's process, which this is a copy of


def test_the_gradients_of_two_nodes_are_those_of_one():
    alone = gradients(1)
    for together in on_two_nodes(gradients, [2, 2]):
        for family, expected in alone.items():
            assert len(expected) == len(together[family]) > 0
            for one, other in zip(expected, together[family], strict=True):
                torch.testing.assert_close(other, one, rtol=0.0, atol=1e-6 * max(1.0, float(one.abs().max())))


def test_a_node_that_sees_no_checkpoint_goes_on_from_that_of_the_first(tmp_path):
    model = model_of("vae")
    alone = run(model, tmp_path / "whole")
    with pytest.raises(TrainingStoppedError):
        run(model_of("vae"), tmp_path / "first", stop_requested=after(4))
    (first, is_first, previews), (second, is_second, _) = on_two_nodes(
        resumed, [tmp_path / "first", tmp_path / "second"]
    )
    assert (is_first, is_second) == (True, False)
    assert len(previews) == len(alone.snapshots)
    for drawn, expected in zip(previews, alone.snapshots, strict=True):  # half of each by the other node
        assert np.abs(drawn.numpy().astype(int) - expected.images).max() <= 2
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(first[name], weight, rtol=1e-2, atol=1e-3)
        assert torch.equal(first[name], second[name])
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_muons_updates_are_the_same_on_all_nodes(tmp_path, precision):
    first, second = on_two_nodes(with_muon, [(str(tmp_path / name), precision) for name in ("first", "second")])
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    if precision == "fp32":  # in bf16, a rounding difference of the gradients becomes one of percents
        alone = model_of("diffusion")
        run(alone, tmp_path / "alone", muon=True)
        for name, weight in alone.state_dict().items():
            torch.testing.assert_close(first[name], weight, rtol=1e-2, atol=1e-3)


def test_a_process_that_owns_nothing_gets_the_others_tensors():
    for (found,) in on_two_nodes(from_the_first, [None, None]):
        assert torch.equal(found, torch.full((2, 3), 7.0, dtype=torch.bfloat16))


def test_a_machine_that_is_started_alone_does_not_wait_for_others(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match="num_nodes: got 2, but nothing says where the machines meet"):
        launch(CPU, "32-true", 1, 2)
