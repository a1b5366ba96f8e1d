"""Coverage of the intervals equals their nominal level, by simulation."""

import numpy as np
import pytest

from genai_core.evaluation.figures import frechet_resamples
from genai_core.evaluation.figures.bootstrap import (
    NOT_NEGATIVE,
    SHARE,
    UNBOUNDED,
    Interval,
    centred_interval,
    paired_difference,
    resample_weights,
    resampled_means,
    share_interval,
)
from genai_core.evaluation.figures.fd_infinity import curve_ends, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_resamples import resampled_curves, resampled_distances
from genai_core.evaluation.figures.kernel import kernel_distance, mean_similarity
from genai_core.evaluation.statistics import feature_stats, square_root

SIMULATIONS, IMAGES, DIM = 80, 120, 4


@pytest.fixture(scope="module")
def simulated():
    """(real, its statistics and root, many shifted sets of images, resample weights)."""
    generator = np.random.default_rng(0)
    real = generator.normal(size=(1000, DIM))
    stats = feature_stats(real)
    sets = [1.3 * generator.normal(size=(IMAGES, DIM)) + 0.3 for _ in range(SIMULATIONS)]
    return real, stats, square_root(stats.covariance), sets, resample_weights(IMAGES, 80, seed=1)


def coverage(values, replicates):
    """Share of the 95% intervals that contain the mean of all values."""
    intervals = [centred_interval(value, r, 0.95) for value, r in zip(values, replicates, strict=True)]
    return np.mean([interval.low <= np.mean(values) <= interval.high for interval in intervals])


@pytest.mark.parametrize("solved_dim", [256, 0])
def test_intervals_of_the_frechet_distance_cover(simulated, monkeypatch, solved_dim):
    monkeypatch.setattr(frechet_resamples, "SOLVED_DIM", solved_dim)
    _, stats, root, sets, weights = simulated
    values = [frechet_distance(stats, root, feature_stats(features)) for features in sets]
    replicates = [resampled_distances(features, stats, root, weights) for features in sets]
    assert 0.88 <= coverage(values, replicates) <= 1


def test_the_naive_interval_does_not_cover(simulated):
    """Quantiles of the resamples themselves: a resample has fewer different images, so its distance is too large."""
    _, stats, root, _, _ = simulated
    generator = np.random.default_rng(3)
    sets = [generator.normal(size=(40, DIM)) for _ in range(60)]
    weights = resample_weights(40, 80, seed=1)
    target = np.mean([frechet_distance(stats, root, feature_stats(features)) for features in sets])
    ranges = [np.quantile(resampled_distances(features, stats, root, weights), [0.025, 0.975]) for features in sets]
    assert np.mean([low <= target <= high for low, high in ranges]) < 0.8


def test_intervals_of_the_distance_at_infinity_cover(simulated):
    _, stats, root, sets, weights = simulated
    ends = curve_ends(IMAGES, 6)
    sets = sets[:50]
    values = [frechet_curve(features, ends, stats, root).at_infinity() for features in sets]
    curves = [resampled_curves(features, ends, stats, root, weights) for features in sets]
    assert 0.88 <= coverage(values, [np.array([c.at_infinity() for c in part]) for part in curves]) <= 1


def test_intervals_of_the_kernel_distance_cover(simulated):
    real, _, _, sets, weights = simulated
    similarity = mean_similarity(real)
    found = [kernel_distance(features, real, similarity) for features in sets]
    replicates = [resampled_means(part.influence, weights) for part in found]
    assert 0.86 <= coverage([part.value for part in found], replicates) <= 1


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_intervals_of_shares_cover(share):
    generator = np.random.default_rng(2)
    found = generator.binomial(100, share, 500) / 100
    intervals = [share_interval(value, 100, 0.95) for value in found]
    assert 0.92 <= np.mean([i.low <= share <= i.high for i in intervals]) <= 0.99


def test_a_share_of_none_of_a_hundred_has_an_upper_limit():
    interval = share_interval(0.0, 100, 0.95)
    assert interval.low == 0
    assert 0.03 < interval.high < 0.04


def test_resamples_have_all_images_and_keep_the_classes_shares():
    labels = np.array([0] * 30 + [1] * 10)
    weights = resample_weights(40, 50, seed=0, strata=labels)
    assert (weights[:, :30].sum(axis=1) == 30).all()
    assert (weights[:, 30:].sum(axis=1) == 10).all()
    np.testing.assert_array_equal(weights, resample_weights(40, 50, seed=0, strata=labels))
    assert (weights != resample_weights(40, 50, seed=1, strata=labels)).any()
    np.testing.assert_allclose(resampled_means(np.ones(40, bool), weights), 1)


def test_a_paired_difference_detects_what_separate_intervals_miss():
    generator = np.random.default_rng(4)
    shared = generator.normal(size=400)
    first, second = shared + 0.1 + 0.02 * generator.normal(size=400), shared
    weights = resample_weights(400, 200, seed=0)
    replicates = [resampled_means(values, weights) for values in (first, second)]
    paired = paired_difference(first.mean(), second.mean(), *replicates, confidence=0.95)
    other = resampled_means(second, resample_weights(400, 200, seed=1))
    assert paired.beyond_noise
    assert not paired_difference(first.mean(), second.mean(), replicates[0], other, confidence=0.95).beyond_noise


def test_equal_models_are_called_different_at_the_nominal_rate():
    generator = np.random.default_rng(5)
    weights = resample_weights(100, 200, seed=0)
    found = []
    for _ in range(300):
        a, b = generator.normal(size=(2, 100))
        reps = [resampled_means(values, weights) for values in (a, b)]
        found.append(paired_difference(a.mean(), b.mean(), *reps, confidence=0.95).beyond_noise)
    assert np.mean(found) < 0.1


def test_an_interval_is_clipped_to_the_figures_bounds():
    assert Interval(-0.2, 0.5).within(NOT_NEGATIVE) == Interval(0.0, 0.5)
    assert Interval(-0.2, 1.5).within(SHARE) == Interval(0.0, 1.0)
    assert Interval(-0.2, 1.5).within(UNBOUNDED) == Interval(-0.2, 1.5)
    assert Interval(-2.0, -1.0).within(NOT_NEGATIVE) == Interval(0.0, 0.0)


def test_a_difference_of_two_shares_is_at_most_one():
    replicates = np.linspace(0.8, 1.0, 40), np.linspace(0.2, 0.0, 40)
    free = paired_difference(0.98, 0.02, *replicates, confidence=0.95)
    bounded = paired_difference(0.98, 0.02, *replicates, confidence=0.95, bounds=SHARE)
    assert free.interval.high > 1
    assert bounded.interval == Interval(free.interval.low, 1.0)
    assert paired_difference(2.0, 1.0, *replicates, confidence=0.95, bounds=NOT_NEGATIVE).interval.low < 1


def test_too_few_or_unequal_resamples_are_refused():
    with pytest.raises(ValueError, match="at least two resamples"):
        centred_interval(1.0, np.ones(1), 0.95)
    with pytest.raises(ValueError, match="as many resamples from both"):
        paired_difference(1.0, 2.0, np.ones(3), np.ones(4), 0.95)
