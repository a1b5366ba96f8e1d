import math

import pytest
import torch
from torch import nn

from genai_core.training.ema import Ema, ema_decay, ema_decay_from_scratch


def test_half_of_the_old_average_remains_after_the_halflife():
    decay, old = ema_decay(batch_images=10, halflife_images=1000), 1.0
    for _ in range(100):
        old *= decay
    assert old == pytest.approx(0.5)


def test_decay_does_not_depend_on_the_batch_size():
    assert ema_decay(64, 1000) == pytest.approx(ema_decay(16, 1000) ** 4)


def shares_of_the_average(steps, halflife_images, batch_images=10):
    """Share of the final average that the weights after each step contribute, in a run from scratch."""
    shares = []
    for step in range(steps):
        decay = ema_decay_from_scratch(
            batch_images, halflife_images, images_seen=step * batch_images, share=step / steps
        )
        shares = [share * decay for share in shares] + [1 - decay]
    return shares


@pytest.mark.parametrize("halflife_share", [0.01, 0.05, 0.1])
def test_half_of_the_final_average_comes_from_the_last_halflife(halflife_share):
    """The last share h of the run contributes 1 - (1 - h)^(ln 2 / h), which is about half for a small h."""
    steps = 2000
    shares = shares_of_the_average(steps, round(halflife_share * steps * 10))
    assert sum(shares) == pytest.approx(1.0)
    last = sum(shares[-round(halflife_share * steps) :])
    assert last == pytest.approx(1 - (1 - halflife_share) ** (math.log(2) / halflife_share), abs=0.01)
    assert last == pytest.approx(0.5, abs=0.03)
    # Nothing remains of the random weights.
    assert sum(shares[: steps // 10]) < 1e-6


def test_random_weights_do_not_enter_the_average():
    assert ema_decay_from_scratch(10, 1000, images_seen=0, share=0.0) == 0.0
    assert ema_decay_from_scratch(10, 1000, images_seen=10, share=0.9) == 0.5


def test_a_halflife_longer_than_the_run_gives_the_mean():
    assert shares_of_the_average(50, 10**9) == pytest.approx([1 / 50] * 50)


def test_update_is_the_weighted_mean():
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    ema = Ema(network)
    nn.init.constant_(network.weight, 5.0)
    ema.update(0.75)
    assert torch.equal(ema.state_dict()["weight"], torch.tensor([[2.0, 2.0]]))


def test_buffers_are_averaged_but_not_counters():
    network = nn.BatchNorm2d(2)
    ema = Ema(network)
    network.running_mean += 1
    network.num_batches_tracked += 1
    ema.update(0.0)
    assert torch.equal(ema.state_dict()["running_mean"], torch.ones(2))
    assert "num_batches_tracked" not in ema.state_dict()


def test_in_place_swaps_the_weights_and_restores_them():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    ema = Ema(network)
    nn.init.constant_(network.weight, 5.0)
    seen = []

    def fail_in_place():
        with ema.in_place():
            seen.append(network.weight.item())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_place()
    assert seen == [1.0]
    assert network.weight.item() == 5.0
    ema.write_to_network()
    assert network.weight.item() == 1.0


def test_state_round_trip():
    network = nn.Linear(3, 2)
    ema = Ema(network)
    other = Ema(nn.Linear(3, 2))
    other.load_state_dict({name: tensor.clone() for name, tensor in ema.state_dict().items()})
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in ema.state_dict().items())
