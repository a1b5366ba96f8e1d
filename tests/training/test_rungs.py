"""Evaluations at rungs: where they happen, and that they change nothing."""

from genai_core.training.rungs import Rungs
from tests.training.small_run import model_of, run, same_weights


def test_a_step_that_reaches_a_rung_names_it_once():
    rungs = Rungs((0.2, 0.6), lambda _model: 0.0, lambda *_: None)
    steps = [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.5, 1.0)]
    assert [rungs.passed(before, share) for before, share in steps] == [None, 0.2, None, 0.6]


def test_rungs_measure_the_averaged_weights_and_change_nothing(tmp_path):
    plain, measured, found = model_of(), model_of(), []

    def evaluate(model):
        assert not model.training
        return float(next(model.parameters()).detach().sum())

    rungs = Rungs((0.25, 0.5), evaluate, lambda *values: found.append(values))
    expected, result = run(plain, tmp_path / "a"), run(measured, tmp_path / "b", rungs=rungs)
    assert [(share, images) for share, images, _ in found] == [(0.25, 16), (0.5, 32)]
    assert found[0][2] != found[1][2]
    assert result.curves == expected.curves
    assert same_weights(plain, measured)
