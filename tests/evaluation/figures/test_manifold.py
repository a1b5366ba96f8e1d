import numpy as np
import pytest
import torch

from genai_core.evaluation.figures.manifold import manifold, overlap

GENERATOR = np.random.default_rng(0)


def figures(fake, real):
    found = overlap(manifold(fake, 3, 5), manifold(real, 3, 5))
    return found.precise.mean(), found.recalled.mean(), found.density.mean(), found.covered.mean()


def test_sets_far_apart_do_not_overlap():
    real = GENERATOR.normal(size=(50, 4))
    assert figures(real + 100, real) == (0, 0, 0, 0)


def test_a_set_overlaps_itself():
    real = GENERATOR.normal(size=(50, 4))
    precision, recall, density, coverage = figures(real, real)
    assert (precision, recall, coverage) == (1, 1, 1)
    # A point lies in its own ball and in those of points that have it among their k nearest: on average k + 1, over k.
    assert density == pytest.approx(6 / 5, abs=1e-9)


def test_one_mode_of_two_is_precise_but_has_half_the_recall_and_coverage():
    modes = GENERATOR.normal(size=(100, 3)) + 50 * (np.arange(100) % 2)[:, None]
    fake = GENERATOR.normal(size=(100, 3))
    precision, recall, density, coverage = figures(fake, modes)
    assert precision > 0.8
    assert 0.35 < recall <= 0.5
    assert 0.35 < coverage <= 0.5
    # All 100 samples lie where 50 real images are: twice as dense there.
    assert 0.6 < density < 1.4


def test_two_sets_of_one_distribution_have_a_density_of_one():
    values = [figures(*GENERATOR.normal(size=(2, 200, 4))) for _ in range(10)]
    assert np.mean(values, axis=0)[2] == pytest.approx(1, abs=0.05)
    # Naeem et al. 2020, eq. 9: 1 - (N - 1) ... (N - k) / (2 N - 1) ... (2 N - k), for N images of both.
    expected = 1 - np.prod([(200 - i) / (400 - i) for i in range(1, 6)])
    assert np.mean(values, axis=0)[3] == pytest.approx(expected, abs=0.02)


def test_it_agrees_with_torch_fidelity():
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = GENERATOR.normal(size=(120, 5)), GENERATOR.normal(size=(90, 5)) * 0.8 + 0.3
    expected = prc_features_to_metric(
        torch.from_numpy(fake).float(), torch.from_numpy(real).float(), prc_neighborhood=3, prc_batch_size=50
    )
    precision, recall, _, _ = figures(fake, real)
    assert precision == pytest.approx(expected["precision"], abs=1e-6)
    assert recall == pytest.approx(expected["recall"], abs=1e-6)


def test_fewer_images_than_neighbours_are_refused():
    with pytest.raises(ValueError, match="got 4 images"):
        manifold(GENERATOR.normal(size=(5, 2)), 3, 5)
