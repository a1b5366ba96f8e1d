import numpy as np
import pytest

from genai_core.evaluation.figures.memorisation import threshold, within
from genai_core.evaluation.figures.neighbours import nearest

GENERATOR = np.random.default_rng(0)
TRAIN, HELD_OUT = GENERATOR.normal(size=(500, 8)), GENERATOR.normal(size=(300, 8))
DISTANCES = nearest(HELD_OUT, TRAIN).distances[:, 0]


def test_planted_training_images_are_found_and_paired_with_their_originals():
    samples = GENERATOR.normal(size=(200, 8))
    samples[10:60] = TRAIN[100:150] + 1e-3 * GENERATOR.normal(size=(50, 8))
    found = within(samples, TRAIN, threshold(DISTANCES, 1))
    assert found.copied[10:60].all()
    assert found.copied.mean() == pytest.approx(0.25, abs=0.03)
    closest = found.closest(50)
    assert set(closest) == set(range(10, 60))
    np.testing.assert_array_equal(found.index[closest], closest + 90)


def test_new_images_are_near_copies_as_often_as_held_out_ones():
    share = within(GENERATOR.normal(size=(4000, 8)), TRAIN, threshold(DISTANCES, 5)).copied.mean()
    assert share == pytest.approx(0.05, abs=0.03)


def test_exact_copies_count_even_if_held_out_images_have_copies():
    distances = np.concatenate([np.zeros(30), DISTANCES])
    found = within(TRAIN[:20], TRAIN, threshold(distances, 1))
    assert found.copied.all()
    assert not within(TRAIN[:20] + 0.5, TRAIN, threshold(distances, 1)).copied.any()


def test_a_collapsed_generator_is_found():
    real = nearest(HELD_OUT).distances[:, 0]
    few = np.repeat(GENERATOR.normal(size=(10, 8)), 30, axis=0) + 1e-3 * GENERATOR.normal(size=(300, 8))
    assert within(few, None, threshold(real, 1)).copied.all()
    assert within(GENERATOR.normal(size=(300, 8)), None, threshold(real, 1)).copied.mean() < 0.05
