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
    """Copy the state every 12 steps, with a probation of 6, so that SHORT runs are long enough."""
    monkeypatch.setattr("genai_core.training.run._PROBATION_STEPS", 6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_without_rollbacks_a_non_finite_loss_ends_the_run_before_it_updates_the_weights(value, tmp_path, monkeypatch):
    model = model_of()
    calls = on_call(monkeypatch, model, lambda loss, call: times(loss, value) if call == 3 else loss)
    with pytest.raises(DivergedError, match=r"the loss of the denoiser became .* after 24 images; lower"):
        run(model, tmp_path)
    assert len(calls) == 3
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_rolls_back_to_the_start_until_a_later_state_is_good(tmp_path, monkeypatch, capsys):
    model, healthy = model_of(), model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, math.nan) if call == 5 else loss)
    result = run(model, tmp_path, **WATCH)
    assert result.steps == 8
    (rollback,) = result.rollbacks
    assert (rollback.at_images, rollback.to_images) == (40, 0)
    assert "rolling back to 0 images, with 0.5 of the learning rate" in capsys.readouterr().out
    assert [row["images"] for row in result.curves] == list(range(8, 65, 8))
    # Other noise and a smaller rate, so the weights differ from an unbroken run.
    run(healthy, tmp_path / "healthy")
    assert not same_weights(model, healthy)


def test_rolls_back_to_the_last_good_state(tmp_path, monkeypatch):
    model = model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, 1e4) if 110 <= call <= 128 else loss)
    result = run(model, tmp_path, **LONG)
    (rollback,) = result.rollbacks
    # Copied after 64 steps, good after 96. The block from 97 to 112 has only three bad losses, the next one has 16.
    assert (rollback.at_images, rollback.to_images) == (128 * 4, 64 * 4)
    assert "exploded" in rollback.why
    assert all(row["loss"] < 100 for row in result.curves)


def test_a_run_that_breaks_repeatedly_ends_with_a_clear_error(tmp_path, monkeypatch):
    model = model_of()
    on_call(monkeypatch, model, lambda loss, call: times(loss, math.nan) if call % 4 == 0 else loss)
    with pytest.raises(DivergedError, match=r"nan after 32 .* 2 rollbacks; lower .*finetune\.learning_rate_share"):
        run(model, tmp_path, **WATCH)


@pytest.mark.parametrize("stop", [14, 22, 26])
def test_a_resumed_run_rolls_back_like_an_uninterrupted_one(stop, tmp_path, monkeypatch, short_probation):
    """Stops during and after the probation of the good state, and after the rollback."""

    def broken(model, earlier_calls):
        # Only the 23rd call fails, counted over both runs.
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


def test_a_run_stopped_soon_after_a_rollback_resumes_behind_it(tmp_path, monkeypatch, short_probation, capsys):
    """The checkpoint from before the fault has more steps, but is older: resuming there would meet the fault again."""
    straight, models = model_of(), [model_of(), model_of(seed=8), model_of(seed=9)]
    on_call(monkeypatch, straight, lambda loss, call: times(loss, math.nan) if call == 23 else loss)
    expected = run(straight, tmp_path / "straight", **SHORT)
    with pytest.raises(TrainingStoppedError):
        run(models[0], tmp_path / "stopped", stop_requested=after(22), **SHORT)
    on_call(monkeypatch, models[1], lambda loss, call: times(loss, math.nan) if call == 1 else loss)
    with pytest.raises(TrainingStoppedError, match="after 60 images"):  # 12 steps to which it rolled back, and 3 more
        run(models[1], tmp_path / "stopped", stop_requested=after(3), **SHORT)
    capsys.readouterr()
    result = run(models[2], tmp_path / "stopped", **SHORT)
    assert "resuming from the checkpoint at 60 images" in capsys.readouterr().out
    assert result.rollbacks == expected.rollbacks
    assert same_weights(straight, models[2])


def test_keeping_good_states_does_not_change_the_result(tmp_path, short_probation):
    models = [model_of(), model_of()]
    run(models[0], tmp_path, **SHORT)
    run(models[1], tmp_path, **{**SHORT, "watch": {"max_rollbacks": 0, "rollback_rate_factor": 0.5}})
    assert same_weights(*models)


def test_a_rollback_halves_the_learning_rate(tmp_path, monkeypatch):
    """After a rollback to the start, the first step is half as large."""
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
    # Adam's first step equals the learning rate, regardless of the gradient.
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
