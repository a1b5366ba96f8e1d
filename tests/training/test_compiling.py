from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from genai_core.training import loop
from genai_core.training.compiling import compiled, uncompiled
from tests.training.small_run import model_of, run


@pytest.fixture(autouse=True)
def traced_only(monkeypatch):
    """Use torch.compile without code generation, which needs a compiler and takes half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()


def frames():
    return counters["frames"]["ok"]


def test_the_network_is_compiled_in_the_body_and_keeps_its_names():
    network, inputs = torch.nn.Linear(3, 2), torch.ones(1, 3)
    names = list(network.state_dict())
    with compiled(network):
        network(inputs)
        assert list(network.state_dict()) == names
    assert frames() == 1
    assert "forward" not in vars(network)
    network(torch.ones(1, 2, 3))
    assert frames() == 1


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
def test_compiled_code_is_as_deterministic_as_the_process(mode):
    before = torch.get_deterministic_debug_mode(), torch._inductor.config.deterministic
    torch.set_deterministic_debug_mode(mode)
    try:
        with compiled(torch.nn.Linear(3, 2)):
            assert torch._inductor.config.deterministic == (mode != "default")
            assert torch.get_deterministic_debug_mode() == ["default", "warn", "error"].index(mode)
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch._inductor.config.deterministic = before[1]


def test_nothing_is_compiled_unless_wanted():
    network = torch.nn.Linear(3, 2)
    with compiled(network, wanted=False):
        network(torch.ones(1, 3))
    assert frames() == 0


def test_an_error_in_the_body_restores_the_network():
    network = torch.nn.Linear(3, 2)
    with pytest.raises(RuntimeError), compiled(network):
        network(torch.ones(1, 5))
    assert "forward" not in vars(network)


def test_training_compiles_its_steps_but_not_its_previews(tmp_path, monkeypatch):
    plain = model_of()
    run(plain, tmp_path / "plain")
    monkeypatch.setattr(loop, "compiled", lambda network, _wanted: compiled(network))
    model, previews = model_of(), []
    own = loop.uncompiled
    monkeypatch.setattr(loop, "uncompiled", lambda: previews.append(frames()) or own())
    result = run(model, tmp_path / "compiled")
    assert frames() > 0
    # The first preview follows the first step. Previews of ten images compile nothing; steps of eight images do.
    assert previews[0] == frames()
    assert len(previews) == len(result.snapshots) > 1
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_uncompiled_applies_to_its_body_only():
    network, inputs = torch.nn.Linear(3, 2), torch.ones(1, 3)
    with compiled(network):
        with uncompiled():
            network(inputs)
        assert frames() == 0
        network(inputs)
        assert frames() == 1
