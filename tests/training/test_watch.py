import math
import random

import pytest

from genai_core.training.watch import BLOCK_STEPS, BrokenLossError, LossWatch


def watch_all(losses):
    watch = LossWatch()
    for loss in losses:
        watch.check("denoiser", loss)
    return watch


def steps_to_alarm(healthy, broken):
    watch = watch_all(healthy)
    for count, loss in enumerate(broken, 1):
        try:
            watch.check("denoiser", loss)
        except BrokenLossError:
            return count
    return None


def healthy(steps, level=1.0):
    """Losses falling from `level`, with heavy-tailed noise like diffusion's weighted losses."""
    draw = random.Random(0)
    return [level * (0.1 + 0.9 / (1 + step / 50)) * draw.lognormvariate(0, 0.5) for step in range(steps)]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_non_finite_loss_is_broken_at_once(loss):
    with pytest.raises(BrokenLossError, match="the loss of the generator became"):
        LossWatch().check("generator", loss)


@pytest.mark.parametrize("level", [1e-3, 1.0, 3000.0])
def test_an_explosion_is_detected_within_two_blocks_at_any_scale(level):
    assert steps_to_alarm(healthy(100, level), [30 * level] * 100) <= 2 * BLOCK_STEPS
    growing = [level * 1.5**step for step in range(100)]
    assert steps_to_alarm(healthy(100, level), growing) <= 2 * BLOCK_STEPS


def test_the_message_names_the_usual_value():
    with pytest.raises(BrokenLossError, match="exploded to 50; the usual value is 1"):
        watch_all([1.0] * 32 + [50.0] * 16)


def test_healthy_losses_raise_no_alarm():
    watch_all(healthy(5000))
    watch_all([*healthy(100), *[1e6] * (BLOCK_STEPS // 2 - 1), *healthy(100)])  # a few bad batches
    watch_all([*[0.69] * 16, *[5.0] * 1000])  # a generator that falls behind permanently
    watch_all([3.0 - step / 500 for step in range(5000)])  # a likelihood that crosses 0
    watch_all([0.0] * 1000)


def test_a_return_to_the_first_losses_is_not_an_explosion():
    watch_all([*healthy(1000), *healthy(1000)])


def test_state_round_trip():
    first = watch_all(healthy(50))
    resumed = LossWatch(**first.state_dict())
    assert resumed == first
    resumed.block = [100.0] * (BLOCK_STEPS - 1)
    with pytest.raises(BrokenLossError):
        resumed.check("denoiser", 100.0)
