import numpy as np
import pytest

from genai_core.evaluation.statistics import feature_stats, square_root


def test_mean_and_covariance_agree_with_numpy_in_float64():
    features = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    stats = feature_stats(features)
    assert stats.count == 50
    assert stats.mean.dtype == stats.covariance.dtype == np.float64
    np.testing.assert_allclose(stats.mean, features.astype(np.float64).mean(0), atol=1e-15)
    np.testing.assert_allclose(stats.covariance, np.cov(features.astype(np.float64), rowvar=False), atol=1e-14)


def test_a_large_offset_does_not_reduce_precision():
    features = np.random.default_rng(0).normal(size=(100, 3))
    np.testing.assert_allclose(feature_stats(features + 1e6).covariance, feature_stats(features).covariance, rtol=1e-7)


@pytest.mark.parametrize("rank", [5, 2])
def test_the_square_of_the_root_is_the_covariance_even_if_singular(rank):
    factor = np.random.default_rng(1).normal(size=(5, rank))
    covariance = factor @ factor.T
    root = square_root(covariance)
    np.testing.assert_allclose(root @ root, covariance, atol=1e-10)
    np.testing.assert_allclose(root, root.T, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4,)])
def test_fewer_than_two_images_are_refused(shape):
    with pytest.raises(ValueError, match="at least two images"):
        feature_stats(np.zeros(shape))
