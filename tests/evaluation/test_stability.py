import numpy as np
import pytest

from genai_core.evaluation.stability import measure_stability


def test_batches_of_a_stable_model_differ_like_real_ones():
    features = np.random.default_rng(0).normal(size=(800, 3))
    found = measure_stability(features[:400], features[400:], seed=0)
    assert found.images == 100
    assert len(found.generated) == len(found.real) == 6
    assert found.generated.mean() == pytest.approx(found.real.mean(), rel=0.6)


def test_a_drifting_model_is_detected():
    generator = np.random.default_rng(0)
    features, real = generator.normal(size=(400, 3)), generator.normal(size=(250, 3))
    features[200:] += 1
    found = measure_stability(features, real, seed=0)
    assert len(found.real) == 1  # one pair of two batches
    assert found.generated.max() == pytest.approx(3, abs=1.2)
    assert found.real.max() < 0.3


def test_too_few_images_have_no_stability():
    assert measure_stability(np.ones((7, 2)), np.ones((100, 2)), seed=0) is None
    assert measure_stability(np.random.default_rng(0).normal(size=(40, 2)), np.ones((15, 2)), seed=0).real is None
