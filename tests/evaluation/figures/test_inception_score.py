import numpy as np
import pytest
import torch

from genai_core.evaluation.figures.inception_score import (
    inception_score,
    label_agreement,
    resampled_inception_scores,
)


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
    # It shuffles before it splits: with one split the order does not matter.
    metric = InceptionScore(feature=Identity(), splits=1)
    metric.update(logits)
    assert inception_score(logits.numpy(), splits=1).mean == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_a_split_of_one_image_is_refused():
    """A single image equals the mean of its split, so the score would always be 1."""
    logits = 50 * np.eye(5)
    assert inception_score(logits, splits=1).mean == pytest.approx(5)
    assert inception_score(np.concatenate([logits, logits]), splits=5).mean == pytest.approx(2)
    with pytest.raises(ValueError, match="expected at least 2 images per split, got 5 images and 5 splits"):
        inception_score(logits, splits=5)
    with pytest.raises(ValueError, match="expected at least 2 images per split, got 5 images and 3 splits"):
        inception_score(logits, splits=3)


def test_labels_agree_with_the_most_likely_class():
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    assert label_agreement(logits, np.array([0, 1, 1, 1])).tolist() == [True, True, False, True]
    with pytest.raises(ValueError, match="one label per image"):
        label_agreement(logits, np.array([0]))


def test_a_resample_by_weights_equals_one_of_repeated_images():
    logits = np.random.default_rng(10).normal(size=(6, 3)) * 2
    weights = np.array([[1.0, 1, 1, 1, 1, 1], [2, 0, 0, 3, 1, 0]])
    scores = resampled_inception_scores(logits, weights)
    assert scores[0] == pytest.approx(inception_score(logits, 1).mean)
    assert scores[1] == pytest.approx(inception_score(logits[[0, 0, 3, 3, 3, 4]], 1).mean)


def test_a_resample_without_a_class_has_a_score():
    logits = 1e5 * np.eye(3)[[0, 1, 2, 0]]
    assert resampled_inception_scores(logits, np.array([[2.0, 2, 0, 0]]))[0] == pytest.approx(2)
