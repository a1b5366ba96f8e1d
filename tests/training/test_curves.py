import pytest

from genai_core.training.curves import Curves, previews_due


@pytest.mark.parametrize("steps", [1, 7, 99, 100, 101, 149, 1000, 1234])
def test_at_most_100_rows_and_every_step_counts_once(steps):
    curves = Curves()
    for step in range(1, steps + 1):
        row = curves.add(step / steps, 10 * step, {"loss": float(step)}, last=step == steps)
        assert row is None or row is curves.rows[-1]
    assert len(curves.rows) == min(steps, 100)
    assert curves.rows[-1]["images"] == 10 * steps
    ends = [0, *(row["images"] // 10 for row in curves.rows)]
    total = sum(row["loss"] * (end - start) for row, start, end in zip(curves.rows, ends, ends[1:], strict=False))
    assert total == pytest.approx(steps * (steps + 1) / 2)


def test_a_run_that_ends_early_has_a_last_row():
    curves = Curves()
    curves.add(0.001, 10, {"loss": 2.0}, last=False)
    assert curves.rows == []
    assert curves.add(0.002, 20, {"loss": 4.0}, last=True) == {"images": 20, "loss": 3.0}


def test_a_figure_that_starts_mid_row_is_the_mean_of_its_own_steps():
    curves = Curves()
    curves.add(0.001, 10, {"tokenizer": 2.0}, last=False)
    assert curves.add(1.0, 20, {"prior": 4.0}, last=True) == {"images": 20, "tokenizer": 2.0, "prior": 4.0}


def test_previews_double_their_distance_and_the_last_is_at_the_end():
    due = [previews_due(step / 3200) for step in range(3201)]
    assert [step for step in range(1, 3201) if due[step] > due[step - 1]] == [100, 200, 400, 800, 1600, 3200]
    assert previews_due(0.0) == 0
