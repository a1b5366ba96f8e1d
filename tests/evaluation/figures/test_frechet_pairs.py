import numpy as np
import pytest

from genai_core.evaluation.figures import frechet_pairs, neighbours
from genai_core.evaluation.figures.bootstrap import paired_difference, resample_weights
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_pairs import paired_distances, resampled_stats
from genai_core.evaluation.statistics import feature_stats, square_root

GENERATOR = np.random.default_rng(0)


def test_a_resample_by_weights_equals_one_of_repeated_images(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK_VALUES", 70)  # seven images at a time
    features = GENERATOR.normal(size=(30, 4)) + 1000
    weights = resample_weights(30, 3, seed=3)
    found = resampled_stats(features, weights)
    for times, mean, covariance in zip(weights, found.means, found.covariances, strict=True):
        repeated = feature_stats(np.repeat(features, times.astype(int), axis=0))
        np.testing.assert_allclose(mean, repeated.mean, rtol=1e-14)
        np.testing.assert_allclose(covariance, repeated.covariance, atol=1e-10)
    with pytest.raises(ValueError, match="at least two images"):
        resampled_stats(features, np.eye(30)[:2])


def test_each_resample_has_the_same_images_of_all_sets():
    first, second, real = (GENERATOR.normal(shift, 1, size=(40, 3)) for shift in (0.0, 0.3, 0.0))
    weights, of_real = resample_weights(40, 3, seed=0), resample_weights(40, 3, seed=1)
    found = paired_distances(first, second, real, weights, of_real)
    for r in range(3):
        drawn = [
            feature_stats(np.repeat(x, w[r].astype(int), axis=0))
            for x, w in ((first, weights), (second, weights), (real, of_real))
        ]
        root = square_root(drawn[2].covariance)
        assert found.first[r] == pytest.approx(frechet_distance(drawn[2], root, drawn[0]), abs=1e-9)
        assert found.second[r] == pytest.approx(frechet_distance(drawn[2], root, drawn[1]), abs=1e-9)


def test_linearised_resamples_vary_like_exact_ones(monkeypatch):
    first, second, real = (GENERATOR.normal(shift, 1, size=(600, 4)) for shift in (0.5, 0.9, 0.0))
    weights, of_real = resample_weights(600, 200, seed=0), resample_weights(600, 200, seed=1)
    solved = paired_distances(first, second, real, weights, of_real)
    monkeypatch.setattr(frechet_pairs, "SOLVED_DIM", 1)
    linear = paired_distances(first, second, real, weights, of_real)
    own, other = solved.second - solved.first, linear.second - linear.first
    assert np.corrcoef(own, other)[0, 1] > 0.98
    assert other.std() == pytest.approx(own.std(), rel=0.1)


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_paired_interval_contains_the_true_difference(shared):
    """With and without shared latents; distances of known Gaussians that differ only in the mean."""
    dim, images, confidence, trials = 3, 150, 0.9, 150
    true_difference = dim * (0.6**2 - 0.5**2)
    generator, held = np.random.default_rng(1), 0
    for trial in range(trials):
        latents, others, own = (generator.normal(size=(images, dim)) for _ in range(3))
        first = latents + 0.5
        second = shared * latents + np.sqrt(1 - shared**2) * others + 0.6
        found = paired_distances(
            first,
            second,
            own,
            resample_weights(images, 60, seed=trial),
            resample_weights(images, 60, seed=1000 + trial),
        )
        values = []
        for features in (second, first):
            real = feature_stats(own)
            values.append(frechet_distance(real, square_root(real.covariance), feature_stats(features)))
        difference = paired_difference(values[0], values[1], found.second, found.first, confidence)
        held += difference.interval.low <= true_difference <= difference.interval.high
    assert 0.82 <= held / trials <= 1.0


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many images in both"):
        paired_distances(np.ones((3, 2)), np.ones((4, 2)), np.ones((5, 2)), np.ones((2, 3)), np.ones((2, 5)))
