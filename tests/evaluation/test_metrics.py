import numpy as np
import pytest
import scipy.linalg
import torch

from genai_core.evaluation.metrics import frechet_distance, inception_score, label_agreement
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


def test_a_set_is_at_no_distance_from_itself():
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


def test_uniform_predictions_score_one():
    assert inception_score(np.zeros((40, 5)), splits=4).mean == pytest.approx(1)


@pytest.mark.parametrize("scale", [50.0, 1e5])
def test_confident_balanced_predictions_score_the_number_of_classes(scale):
    # At 1e5 the other classes' probabilities are 0 in float64: no NaN from 0 * log 0.
    logits = scale * np.eye(5)[np.arange(50) % 5]
    score = inception_score(logits, splits=2)
    assert score.mean == pytest.approx(5)
    assert score.std == pytest.approx(0, abs=1e-9)


def test_the_same_confident_class_for_all_scores_one():
    assert inception_score(1e4 * np.eye(5)[np.zeros(20, int)], splits=1).mean == pytest.approx(1)


def test_the_score_is_the_exponential_of_the_mean_divergence():
    logits = np.random.default_rng(8).normal(size=(30, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())
    assert inception_score(logits, splits=1).mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all")
@pytest.mark.filterwarnings("ignore:std")
def test_it_agrees_with_torchmetrics_inception_score():
    from torchmetrics.image.inception import InceptionScore

    class Identity(torch.nn.Module):
        def forward(self, x):
            return x

    logits = torch.from_numpy(np.random.default_rng(9).normal(size=(60, 4)) * 3)
    # It shuffles before it splits: with one split the order is no matter.
    metric = InceptionScore(feature=Identity(), splits=1)
    metric.update(logits)
    assert inception_score(logits.numpy(), splits=1).mean == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_more_splits_than_images_are_refused():
    with pytest.raises(ValueError, match="at least one image a split"):
        inception_score(np.zeros((3, 2)), splits=4)


def test_label_agreement_is_the_share_of_right_classes():
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    assert label_agreement(logits, np.array([0, 1, 1, 1])) == 0.75
    with pytest.raises(ValueError, match="one label an image"):
        label_agreement(logits, np.array([0]))
