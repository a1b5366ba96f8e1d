import numpy as np
import pytest
import torch

from genai_core.evaluation.figures import neighbours
from genai_core.evaluation.figures.kernel import kernel_distance, mean_similarity, subset_kernel_distance

GENERATOR = np.random.default_rng(0)
REAL, FAKE = GENERATOR.normal(size=(60, 5)), GENERATOR.normal(size=(40, 5)) * 1.2 + 0.4


def kernel(x, y):
    return (x @ y / len(x) + 1) ** 3


def test_it_equals_the_unbiased_estimator_from_loops():
    within_fake = np.mean([kernel(x, y) for i, x in enumerate(FAKE) for j, y in enumerate(FAKE) if i != j])
    within_real = np.mean([kernel(x, y) for i, x in enumerate(REAL) for j, y in enumerate(REAL) if i != j])
    across = np.mean([kernel(x, y) for x in FAKE for y in REAL])
    found = kernel_distance(FAKE, REAL, mean_similarity(REAL))
    assert found.value == pytest.approx(within_fake + within_real - 2 * across, rel=1e-10)


def test_it_agrees_with_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    expected = float(poly_mmd(torch.from_numpy(REAL[:40]), torch.from_numpy(FAKE)))
    assert kernel_distance(FAKE, REAL[:40], mean_similarity(REAL[:40])).value == pytest.approx(expected, rel=1e-9)


def test_two_sets_of_one_distribution_have_a_mean_distance_of_0_for_any_size():
    generator = np.random.default_rng(1)
    for count in (10, 40):
        values = []
        for _ in range(300):
            a, b = generator.normal(size=(2, count, 4))
            values.append(kernel_distance(a, b, mean_similarity(b)).value)
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_subsets_have_the_same_expectation():
    whole = kernel_distance(FAKE, REAL, mean_similarity(REAL)).value
    parts = subset_kernel_distance(FAKE, REAL, subsets=400, subset_images=20, seed=0)
    assert parts.mean == pytest.approx(whole, abs=4 * parts.std / 20)
    assert parts == subset_kernel_distance(FAKE, REAL, subsets=400, subset_images=20, seed=0)
    with pytest.raises(ValueError, match="subsets of 2 to 40 images, got 41"):
        subset_kernel_distance(FAKE, REAL, subsets=2, subset_images=41, seed=0)


def test_the_influence_is_the_change_from_removing_an_image():
    found = kernel_distance(FAKE, REAL, mean_similarity(REAL))
    without = [kernel_distance(np.delete(FAKE, i, 0), REAL, mean_similarity(REAL)).value for i in range(40)]
    jackknife = 39 * (found.value - np.array(without))
    np.testing.assert_allclose(found.influence, jackknife, rtol=0.1, atol=0.02 * np.ptp(jackknife))


def test_the_chunk_size_does_not_change_the_result(monkeypatch):
    whole = kernel_distance(FAKE, REAL, mean_similarity(REAL))
    monkeypatch.setattr(neighbours, "CHUNK_VALUES", 7 * 60)
    parts = kernel_distance(FAKE, REAL, mean_similarity(REAL))
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    np.testing.assert_allclose(parts.influence, whole.influence, rtol=1e-9)


@pytest.mark.parametrize(
    ("fake", "message"),
    [(FAKE[:1], "at least two images"), (FAKE[:, :3], "of the same dimension"), (FAKE[0], "dimension")],
)
def test_sets_that_do_not_fit_are_refused(fake, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(fake, REAL, 0.0)
