import numpy as np
import pytest

from genai_core.evaluation.figures.fd_infinity import Curve, curve_ends, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.set_figures import Resamples, extrapolated, real_set, sample_set
from genai_core.evaluation.statistics import FeatureStats, feature_stats
from tests.evaluation.conftest import evaluation_config

GENERATOR = np.random.default_rng(0)
STANDARD = FeatureStats(10**9, np.zeros(8), np.eye(8))


def test_a_curve_is_the_distance_of_each_first_part():
    features = GENERATOR.normal(size=(90, 8)) + 3
    curve = frechet_curve(features, [20, 50, 90], STANDARD, np.eye(8))
    expected = [frechet_distance(STANDARD, np.eye(8), feature_stats(features[:end])) for end in (20, 50, 90)]
    np.testing.assert_allclose(curve.distances, expected, rtol=1e-10)
    np.testing.assert_array_equal(curve.counts, [20, 50, 90])


def test_a_resample_by_weights_equals_one_of_repeated_images():
    features = GENERATOR.normal(size=(60, 8))
    weights = GENERATOR.multinomial(60, np.full(60, 1 / 60)).astype(float)
    curve = frechet_curve(features, [60], STANDARD, np.eye(8), weights)
    repeated = np.repeat(features, weights.astype(int), axis=0)
    expected = frechet_distance(STANDARD, np.eye(8), feature_stats(repeated))
    assert curve.distances[-1] == pytest.approx(expected, rel=1e-10)


def test_the_extrapolation_removes_the_bias_of_few_images():
    true = 8 * 0.2**2 + 8 * 0.1**2
    few, infinite = [], []
    for _ in range(40):
        features = 1.1 * GENERATOR.normal(size=(800, 8)) + 0.2
        curve = frechet_curve(features, curve_ends(800, 15), STANDARD, np.eye(8))
        few.append(curve.distances[-1])
        infinite.append(curve.at_infinity())
    assert np.mean(few) > true + 0.02
    assert np.mean(infinite) == pytest.approx(true, abs=0.01)


def test_points_on_a_line_give_its_intercept():
    counts = np.array([10.0, 20, 40])
    assert Curve(counts, 3 + 7 / counts).at_infinity() == pytest.approx(3)
    with pytest.raises(ValueError, match="two different counts of images"):
        Curve(counts[:1], counts[:1]).at_infinity()


def measured(count, points):
    """Extrapolate the distance of `count` images, with many resamples."""
    random = np.random.default_rng(0)
    config = evaluation_config(fd_inf_points=points, bootstrap_resamples=300, total_images=1000)
    real = real_set(random.normal(size=(300, 4)).astype("f4"), None, config)
    sample = sample_set(random.normal(size=(count, 4)).astype("f4"), None, config)
    return extrapolated(sample, real, Resamples(count, None, config))


@pytest.mark.parametrize("count", [6, 10, 49])
def test_few_images_have_no_extrapolation(count):
    assert measured(count, points=15) is None


def test_resamples_without_the_first_images_do_not_end_the_measurement():
    """With two points, about 3% of the resamples have fewer than two of the first five images."""
    figure = measured(50, points=2)
    assert len(figure.replicates) == 300
    assert np.isfinite(figure.replicates).all()
    assert figure.interval.low < figure.value < figure.interval.high


def test_counts_go_from_a_tenth_to_all():
    assert curve_ends(50_000, 15)[0] == 5_000
    assert curve_ends(50_000, 15)[-1] == 50_000
    assert len(curve_ends(50_000, 15)) == 15
    assert curve_ends(3, 15) == [2, 3]
