import math

import pytest

from genai_core.training.watch import Curves, DivergedError, check_finite, snapshot_steps


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_at_once(loss):
    with pytest.raises(DivergedError, match=r"the loss of the generator became .* after 1,000 images; lower"):
        check_finite("generator", loss, 1000)


def test_a_loss_that_is_a_number_does_not():
    check_finite("generator", -3.0, 1000)


def test_pictures_are_taken_ever_less_often_and_at_the_end():
    assert snapshot_steps(3200) == [100, 200, 400, 800, 1600, 3200]
    assert snapshot_steps(3) == [1, 2, 3]
    assert snapshot_steps(1) == [1]


@pytest.mark.parametrize("steps", [1, 7, 99, 100, 101, 149, 1000, 1234])
def test_about_a_hundred_rows_and_every_step_counts_once(steps):
    curves = Curves(steps, rows=[], sums={})
    for step in range(1, steps + 1):
        curves.add(step, 10 * step, {"loss": float(step)})
    assert len(curves.rows) == steps if steps <= 149 else 80 <= len(curves.rows) <= 125
    assert curves.rows[-1]["images"] == 10 * steps
    ends = [0, *(row["images"] // 10 for row in curves.rows)]
    total = sum(row["loss"] * (end - start) for row, start, end in zip(curves.rows, ends, ends[1:], strict=False))
    assert total == pytest.approx(steps * (steps + 1) / 2)
