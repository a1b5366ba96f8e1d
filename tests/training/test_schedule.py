import pytest

from genai_core.training.schedule import Budget, learning_rate_share


def rate(share, images_seen=500, warmup_images=100, decay_share=0.5):
    return learning_rate_share(share, images_seen, warmup_images=warmup_images, decay_share=decay_share)


def test_warm_up_plateau_and_decay():
    assert rate(0.0, 10) == pytest.approx(0.1)
    assert rate(0.09, 100) == rate(0.4) == 1.0
    assert rate(0.75) == pytest.approx(0.5)
    assert rate(1.0) == 0.0


def test_no_warm_up_and_no_decay():
    assert rate(0.0, 1, warmup_images=0, decay_share=0.0) == rate(1.0, warmup_images=0, decay_share=0.0) == 1.0


def test_the_last_batch_has_a_rate_above_0():
    budget = Budget(1000, 10, None)
    assert rate(budget.share(budget.total_steps - 1, 0.0)) == pytest.approx(10 / 500)


def test_the_first_limit_reached_ends_the_run():
    budget = Budget(1000, 30, 50.0)
    assert budget.total_steps == 34
    assert budget.ended_by(33, 49.9) is None
    assert budget.ended_by(34, 10.0) == "images"
    assert budget.ended_by(5, 50.0) == "seconds"
    assert Budget(1000, 30, None).ended_by(33, 1e9) is None


def test_share_is_the_larger_of_images_and_seconds():
    """The learning rate has thus decayed when the time is up, even after few images."""
    budget = Budget(1000, 100, 50.0)
    assert budget.share(5, 0.0) == 0.5
    assert budget.share(1, 45.0) == 0.9
    assert budget.share(12, 99.0) == 1.0
