import pytest
import torch
from torch import nn

from genai_core.training.ema import Ema, ema_decay


def test_half_of_the_old_average_is_left_after_the_halflife():
    decay, old = ema_decay(batch_images=10, images_seen=10**9, halflife_images=1000), 1.0
    for _ in range(100):
        old *= decay
    assert old == pytest.approx(0.5)


def test_the_batch_size_does_not_change_how_fast_it_forgets():
    assert ema_decay(64, 10**9, 1000) == pytest.approx(ema_decay(16, 10**9, 1000) ** 4)


def test_the_beginning_is_forgotten_faster():
    assert ema_decay(10, 0, 1000) == 0.0
    assert ema_decay(10, 200, 1000) == pytest.approx(0.5)  # 5% of 200 images
    assert ema_decay(10, 20_000, 1000) == ema_decay(10, 10**9, 1000)


def test_update_is_the_weighted_mean():
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    ema = Ema(network)
    nn.init.constant_(network.weight, 5.0)
    ema.update(0.75)
    assert torch.equal(ema.state_dict()["weight"], torch.tensor([[2.0, 2.0]]))


def test_buffers_are_averaged_and_counters_left_alone():
    network = nn.BatchNorm2d(2)
    ema = Ema(network)
    network.running_mean += 1
    network.num_batches_tracked += 1
    ema.update(0.0)
    assert torch.equal(ema.state_dict()["running_mean"], torch.ones(2))
    assert "num_batches_tracked" not in ema.state_dict()


def test_the_average_takes_the_networks_place_for_a_while():
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


def test_state_survives_the_way_to_another_average():
    network = nn.Linear(3, 2)
    ema = Ema(network)
    other = Ema(nn.Linear(3, 2))
    other.load_state_dict({name: tensor.clone() for name, tensor in ema.state_dict().items()})
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in ema.state_dict().items())
