"""Evaluations at rungs: where they happen, and that they change nothing."""

import pytest

from genai_core.training.loop import TrainingStoppedError
from genai_core.training.rungs import Rungs
from tests.training.small_run import after, model_of, run, same_weights


def test_a_step_that_reaches_a_rung_names_it_once():
    rungs = Rungs((0.2, 0.6), {}, lambda _model: 0.0, lambda *_: None)
    steps = [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.5, 1.0)]
    assert [rungs.passed(before, share) for before, share in steps] == [None, 0.2, None, 0.6]


def test_rungs_measure_the_averaged_weights_and_change_nothing(tmp_path):
    plain, measured, found = model_of(), model_of(), []

    def evaluate(model):
        assert not model.training
        return float(next(model.parameters()).detach().sum())

    rungs = Rungs((0.25, 0.5), {}, evaluate, lambda *values: found.append(values))
    expected, result = run(plain, tmp_path / "a"), run(measured, tmp_path / "b", rungs=rungs)
    assert [(share, images) for share, images, _ in found] == [(0.25, 16), (0.5, 32)]
    assert found[0][2] != found[1][2]
    assert result.curves == expected.curves
    assert same_weights(plain, measured)


@pytest.mark.parametrize(("generated", "again"), [(4, [0.25, 0.5]), (8, [0.5])])
def test_a_resumed_run_reports_the_rungs_before_its_checkpoint_again(tmp_path, generated, again):
    def rungs_of(images, found):
        return Rungs(
            (0.25, 0.5), {"generated": images}, lambda _model: float(images), lambda *values: found.append(values)
        )

    before, found = [], []
    with pytest.raises(TrainingStoppedError):
        run(model_of(), tmp_path, rungs=rungs_of(4, before), stop_requested=after(3))
    assert [share for share, _, _ in before] == [0.25]
    run(model_of(), tmp_path, rungs=rungs_of(generated, found))
    assert [share for share, _, _ in found] == again  # measured in another way, a distance is another one
    assert found[-1][2] == generated
