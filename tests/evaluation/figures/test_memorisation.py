import numpy as np
import pytest

from genai_core.evaluation.figures.memorisation import near_copies, near_identical
from genai_core.evaluation.figures.neighbours import nearest

GENERATOR = np.random.default_rng(0)
TRAIN, HELD_OUT = GENERATOR.normal(size=(500, 8)), GENERATOR.normal(size=(300, 8))
DISTANCES = nearest(HELD_OUT, TRAIN).distances[:, 0]


def test_planted_training_images_are_found_and_paired_with_their_originals():
    samples = GENERATOR.normal(size=(200, 8))
    samples[10:60] = TRAIN[100:150] + 1e-3 * GENERATOR.normal(size=(50, 8))
    found = near_copies(samples, TRAIN, DISTANCES, percentile=1)
    assert found.copied[10:60].all()
    assert found.copied.mean() == pytest.approx(0.25, abs=0.03)
    closest = found.closest(50)
    assert set(closest) == set(range(10, 60))
    np.testing.assert_array_equal(found.index[closest], closest + 90)


def test_new_images_are_near_copies_as_rarely_as_held_out_ones():
    share = near_copies(GENERATOR.normal(size=(4000, 8)), TRAIN, DISTANCES, percentile=5).copied.mean()
    assert share == pytest.approx(0.05, abs=0.03)


def test_exact_copies_count_even_where_held_out_images_have_copies_too():
    distances = np.concatenate([np.zeros(30), DISTANCES])
    found = near_copies(TRAIN[:20], TRAIN, distances, percentile=1)
    assert found.copied.all()
    assert not near_copies(TRAIN[:20] + 0.5, TRAIN, distances, percentile=1).copied.any()


def test_a_collapsed_generator_is_found():
    real = nearest(HELD_OUT).distances[:, 0]
    few = np.repeat(GENERATOR.normal(size=(10, 8)), 30, axis=0) + 1e-3 * GENERATOR.normal(size=(300, 8))
    assert near_identical(few, real, percentile=1).copied.all()
    assert near_identical(GENERATOR.normal(size=(300, 8)), real, percentile=1).copied.mean() < 0.05
