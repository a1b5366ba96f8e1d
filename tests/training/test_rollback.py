import math

import pytest

from genai_core.training.loop import AlarmError, TrainingStoppedError
from genai_core.training.watch import DivergedError
from tests.training.small_run import after, model_of, on_call, run, same_weights, times

WATCH = {"watch": {"max_rollbacks": 2, "rollback_rate_factor": 0.5}}
LONG = {"total_images": 150 * 4, "batch_images": 4, **WATCH}
SHORT = {"total_images": 30 * 4, "batch_images": 4, **WATCH}


@pytest.fixture
def short_probation(monkeypatch):
    """Good states are taken every 12 steps, and proven 6 later: SHORT runs are long enough."""
    monkeypatch.setattr("genai_core.training.run._PROBATION_STEPS", 6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_without_rollbacks_a_loss_that_is_no_number_ends_the_run_before_it_is_learned_from(
    value, tmp_path, monkeypatch
):
    model = model_of()
    calls = on_call(monkeypatch, model, lambda loss, call: times(loss, value) if call == 3 else loss)
    with pytest.raises(DivergedError, match=r"the loss of the denoiser became .* after 24 images; lower"):
        run(model, tmp_path)
    assert len(calls) == 3
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_goes_back_to_the_start_while_there_is_nothing_later(tmp_path, monkeypatch, capsys):
    model, healthy = model_of(), model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, math.nan) if call == 5 else loss)
    result = run(model, tmp_path, **WATCH)
    assert result.steps == 8
    (rollback,) = result.rollbacks
    assert (rollback.at_images, rollback.to_images) == (40, 0)
    assert "rolling back to 0 images, with 0.5 of the learning rate" in capsys.readouterr().out
    assert [row["images"] for row in result.curves] == list(range(8, 65, 8))
    # Other noise and a smaller rate: not the run that was never broken.
    run(healthy, tmp_path / "healthy")
    assert not same_weights(model, healthy)


def test_goes_back_to_a_state_that_was_proven_good_and_halves_the_rate(tmp_path, monkeypatch):
    model = model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, 1e4) if 110 <= call <= 128 else loss)
    result = run(model, tmp_path, **LONG)
    (rollback,) = result.rollbacks
    # Kept after 64 steps and proven good after 96. Of the block from 97 to 112 only three are bad, the next is bad.
    assert (rollback.at_images, rollback.to_images) == (128 * 4, 64 * 4)
    assert "exploded" in rollback.why
    assert all(row["loss"] < 100 for row in result.curves)


def test_a_run_that_breaks_again_and_again_ends_with_a_clear_error(tmp_path, monkeypatch):
    model = model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, math.nan) if call % 4 == 0 else loss)
    with pytest.raises(DivergedError, match=r"became nan after 32 images and 2 rollbacks; lower"):
        run(model, tmp_path, **WATCH)


@pytest.mark.parametrize("stop", [14, 22, 26])
def test_a_run_that_was_stopped_goes_back_as_one_that_was_not(stop, tmp_path, monkeypatch, short_probation):
    """Stopped within and after the probation of the good state, before the fault, and in the steps after it."""

    def broken(model, earlier_calls):
        # By the call, whatever process it is in: the 23rd, once.
        return on_call(
            monkeypatch, model, lambda loss, call: times(loss, math.nan) if call + earlier_calls == 23 else loss
        )

    straight, first, second = model_of(), model_of(), model_of(seed=9)
    broken(straight, 0)
    expected = run(straight, tmp_path / "straight", **SHORT)
    assert [rollback.to_images for rollback in expected.rollbacks] == [12 * 4]
    calls = broken(first, 0)
    with pytest.raises(TrainingStoppedError):
        run(first, tmp_path / "stopped", stop_requested=after(stop), **SHORT)
    broken(second, len(calls))
    result = run(second, tmp_path / "stopped", **SHORT)
    assert result.rollbacks == expected.rollbacks
    assert result.curves == expected.curves
    assert same_weights(straight, second)


def test_keeping_good_states_changes_nothing(tmp_path, short_probation):
    models = [model_of(), model_of()]
    run(models[0], tmp_path, **SHORT)
    run(models[1], tmp_path, **{**SHORT, "watch": {"max_rollbacks": 0, "rollback_rate_factor": 0.5}})
    assert same_weights(*models)


def test_a_smaller_rate_makes_smaller_steps(tmp_path, monkeypatch):
    """From the same start, after a rollback at once: the weights move about half as far."""
    start, ends = model_of(), []
    for broken in (False, True):
        model = model_of()
        on_call(monkeypatch, model, lambda loss, call, b=broken: times(loss, math.nan) if b and call == 1 else loss)
        run(model, tmp_path, total_images=8, warmup_images=0, decay_share=0.0, **WATCH)
        ends.append(model)
    moved = [
        max(float((a - b).detach().abs().max()) for a, b in zip(start.parameters(), end.parameters(), strict=True))
        for end in ends
    ]
    # Adam's first step is the learning rate, whatever the gradient.
    assert moved[0] == pytest.approx(1e-3, rel=1e-2)
    assert moved[1] == pytest.approx(moved[0] / 2, rel=1e-3)


def test_a_familys_alarm_ends_the_run(tmp_path, monkeypatch):
    model = model_of("gan")
    seen = []

    def alarm(figures):
        seen.append(figures)
        return "all images are alike" if len(seen) == 3 else None

    monkeypatch.setattr(model, "alarm", alarm)
    with pytest.raises(AlarmError, match="stopped after 24 images: all images are alike"):
        run(model, tmp_path)
    assert set(seen[0]) >= {"discriminator_loss", "score_margin", "r1", "r2", "generator_loss"}
