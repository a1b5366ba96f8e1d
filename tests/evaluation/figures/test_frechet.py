import numpy as np
import pytest
import scipy.linalg
import torch

from genai_core.evaluation.figures.frechet import frechet_distance, frechet_influence
from genai_core.evaluation.statistics import FeatureStats, feature_stats, square_root


def distance(a, b):
    return frechet_distance(a, square_root(a.covariance), b)


def random_stats(seed, dim=6, count=100):
    generator = np.random.default_rng(seed)
    return feature_stats(generator.normal(size=(count, dim)) @ generator.normal(size=(dim, dim)))


def test_gaussians_with_commuting_covariances_have_a_closed_form():
    # Diagonal covariances: the squared distance is the sum of squared differences of means and of deviations.
    mean_a, mean_b = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    std_a, std_b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 1.5])
    a = FeatureStats(10, mean_a, np.diag(std_a**2))
    b = FeatureStats(10, mean_b, np.diag(std_b**2))
    expected = ((mean_a - mean_b) ** 2).sum() + ((std_a - std_b) ** 2).sum()
    assert distance(a, b) == pytest.approx(expected, abs=1e-8)


def test_the_distance_of_a_set_to_itself_is_0():
    stats = random_stats(0)
    assert distance(stats, stats) == pytest.approx(0, abs=1e-8)


def test_the_distance_is_symmetric():
    a, b = random_stats(1), random_stats(2)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-9)


def test_it_agrees_with_scipys_root_of_the_product():
    a, b = random_stats(3, dim=20), random_stats(4, dim=20)
    cross = np.trace(scipy.linalg.sqrtm(a.covariance @ b.covariance)).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_it_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    a, b = random_stats(5, dim=16), random_stats(6, dim=16)
    arrays = [torch.from_numpy(x) for x in (a.mean, a.covariance, b.mean, b.covariance)]
    assert distance(a, b) == pytest.approx(float(_compute_fid(*arrays)), rel=1e-6)


def test_fewer_images_than_features_are_measured():
    generator = np.random.default_rng(7)
    a, b = feature_stats(generator.normal(size=(5, 12))), feature_stats(generator.normal(size=(5, 12)))
    assert np.linalg.matrix_rank(a.covariance) == 4
    assert distance(a, a) == pytest.approx(0, abs=1e-7)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-6)
    assert distance(a, b) > 1


def test_different_dimensions_are_refused():
    with pytest.raises(ValueError, match="the same dimension"):
        distance(random_stats(0, dim=3), random_stats(0, dim=4))


def test_the_influence_is_the_change_of_the_distance_with_an_images_weight():
    generator = np.random.default_rng(8)
    real = feature_stats(generator.normal(size=(300, 4)))
    root = square_root(real.covariance)
    features = generator.normal(size=(50, 4)) * 1.3 + 0.2

    def weighted_distance(weights):
        shares = weights / weights.sum()
        mean = shares @ features
        centred = features - mean
        return frechet_distance(real, root, FeatureStats(50, mean, (centred.T * shares) @ centred * 50 / 49))

    influence = frechet_influence(features, real, root)
    assert influence.mean() == pytest.approx(0, abs=1e-9)
    for image in (0, 7, 33):
        step = np.zeros(50)
        step[image] = 1e-4
        slope = (weighted_distance(np.ones(50) + step) - weighted_distance(np.ones(50) - step)) / 2e-4
        assert influence[image] / 50 == pytest.approx(slope, rel=0.03, abs=1e-3)


def test_the_influence_of_images_in_a_subspace_is_finite():
    generator = np.random.default_rng(9)
    real = feature_stats(generator.normal(size=(100, 12)))
    assert np.isfinite(frechet_influence(generator.normal(size=(5, 12)), real, square_root(real.covariance))).all()
