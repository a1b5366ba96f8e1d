"""What ends a run: the limit of images, the limit of seconds, or early stopping."""

import pytest
import torch

from genai_core.training.early_stop import EarlyStop
from genai_core.training.loop import TrainingStoppedError
from tests.models.tiny import training_config
from tests.training.small_run import after, model_of, on_call, run, same_weights

EARLY_STOP = {"every_images": 16, "images": 4, "patience": 2, "min_improvement": 0.1}
MANY = {"total_images": 10**9}


class Clock:
    """A clock under the test's control."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("genai_core.training.loop.time", clock)
    return clock


def one_second_per_batch(monkeypatch, model, clock):
    def wait(loss, _call):
        clock.now += 1.0
        return loss

    return on_call(monkeypatch, model, wait)


def test_total_images_ends_the_run(tmp_path):
    assert run(model_of(), tmp_path, max_seconds=1e6).ended_by == "images"


def test_max_seconds_ends_the_run_with_the_learning_rate_decayed(tmp_path, monkeypatch, clock):
    model = model_of()
    one_second_per_batch(monkeypatch, model, clock)
    rates = []
    own = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), own(self))[1]
    )
    result = run(model, tmp_path, max_seconds=20, warmup_images=16, **MANY)
    assert (result.ended_by, result.steps, result.seconds) == ("seconds", 20, 20.0)
    assert rates[:11] == pytest.approx([0.5e-3] + [1e-3] * 10)
    assert rates[11:] == pytest.approx([1e-4 * (9 - step) for step in range(9)])
    # Rows up to the end, and previews, as in a run that total_images ends.
    assert [row["images"] for row in result.curves] == list(range(8, 161, 8))
    assert [snapshot.images_seen for snapshot in result.snapshots] == [8, 16, 24, 40, 80, 160]


def test_max_seconds_ends_the_run_with_a_real_clock(tmp_path):
    result = run(model_of(), tmp_path, max_seconds=0.2, **MANY)
    assert result.ended_by == "seconds"
    assert 0.2 <= result.seconds < 10


def test_a_resumed_run_has_the_remaining_time(tmp_path, monkeypatch, clock):
    first, second = model_of(), model_of()
    one_second_per_batch(monkeypatch, first, clock)
    with pytest.raises(TrainingStoppedError):
        run(first, tmp_path, max_seconds=20, stop_requested=after(12), **MANY)
    clock.now = 1000.0
    calls = one_second_per_batch(monkeypatch, second, clock)
    assert run(second, tmp_path, max_seconds=20, **MANY).seconds == 20.0
    assert len(calls) == 8


def test_a_converged_run_ends_with_its_best_weights(tmp_path, clock):
    distances = iter([5.0, 3.0, 2.9, 2.95, 1.0])  # 2.9 is an improvement of less than 10%
    measured = []

    def evaluate(model):
        measured.append({name: tensor.clone() for name, tensor in model.sampled_network().state_dict().items()})
        return next(distances)

    model = model_of()
    result = run(model, tmp_path, evaluate=evaluate, early_stop=EARLY_STOP, total_images=8000)
    assert result.ended_by == "converged"
    assert [evaluation["distance"] for evaluation in result.evaluations] == [5.0, 3.0, 2.9, 2.95]
    final = model.sampled_network().state_dict()
    assert all(torch.equal(tensor, measured[1][name]) for name, tensor in final.items())
    assert result.curves[-1]["images"] == result.images < 8000
    assert result.snapshots[-1].images_seen == result.images


def test_a_resumed_run_converges_like_an_uninterrupted_one(tmp_path, clock):
    def distances():
        values = iter([5.0, 3.0, 2.0, 2.0, 2.0, 1.0])
        return lambda _model: next(values)

    straight, first, second = model_of(), model_of(), model_of(seed=9)
    expected = run(straight, tmp_path / "straight", evaluate=distances(), early_stop=EARLY_STOP, total_images=8000)
    measure = distances()
    with pytest.raises(TrainingStoppedError):
        run(first, tmp_path, evaluate=measure, early_stop=EARLY_STOP, total_images=8000, stop_requested=after(5))
    result = run(second, tmp_path, evaluate=measure, early_stop=EARLY_STOP, total_images=8000)
    assert result.evaluations == expected.evaluations
    assert result.ended_by == "converged"
    assert same_weights(straight, second)


def test_evaluations_over_the_time_share_are_skipped():
    config = training_config(early_stop=EARLY_STOP).early_stop
    state = EarlyStop()

    def due(images, spent_s, run_s):
        return state.due(config, images, spent_s, run_s, complete=True)

    assert [due(images, 0.0, 1.0) for images in (8, 16, 24, 32)] == [False, True, False, True]
    assert not due(48, 0.06, 1.0)  # 6% of the time so far
    assert not due(56, 0.06, 2.0)  # no new interval yet
    assert due(64, 0.06, 2.0)


def test_no_evaluation_while_a_part_of_the_generator_is_untrained(tmp_path, clock):
    """A VQ-VAE's images say nothing about its progress until its prior is trained."""
    measured = []

    def evaluate(_model):
        measured.append(1)
        return 1.0

    model = model_of("vqvae", tokenizer_share=0.5)
    before = {name: tensor.clone() for name, tensor in model.network.prior.state_dict().items()}
    result = run(model, tmp_path, evaluate=evaluate, early_stop=EARLY_STOP, total_images=320)
    # 160 images for the tokenizer. Then the best evaluation, and two without improvement.
    assert [evaluation["images"] for evaluation in result.evaluations] == [176, 192, 208]
    assert (result.ended_by, len(measured)) == ("converged", 3)
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.network.prior.state_dict().items())
