import numpy as np
import pytest

from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.bootstrap import Difference, Interval
from genai_core.evaluation.model_comparison import compare_features, judge
from genai_core.evaluation.reference import build_reference
from tests.evaluation.conftest import evaluation_config, real_images, stripes

CONFIG = evaluation_config(total_images=200)


@pytest.fixture(scope="module")
def real(trained, dataset):
    """(description, reference) of the stripes."""
    extractor, description = trained
    features = {split: extract_features(extractor, dataset.images(split), 100) for split in ("train", "test")}
    return description, build_reference(features, real_images(dataset), description, CONFIG)


def drawn(trained, seed, noise=0):
    images, labels = stripes(200, seed=seed)
    disturbed = images + np.random.default_rng(0).integers(0, noise + 1, images.shape)
    return extract_features(trained[0], disturbed.clip(0, 255).astype(np.uint8), 50), labels


def test_the_worse_model_loses_in_either_order(trained, real):
    (good, labels), (bad, _) = drawn(trained, 9), drawn(trained, 9, noise=150)
    for first, second, winner in ((good, bad, "a"), (bad, good, "b")):
        found = compare_features(first, second, labels, real[1], real[0], CONFIG)
        assert (found.verdict.winner, found.verdict.metric) == (winner, "fd_classifier_test")
        found = compare_features(first, second, labels, real[1], real[0], CONFIG, "train")
        assert (found.verdict.winner, found.verdict.metric) == (winner, "fd_classifier")
        difference = found.differences["fd_classifier_test"]
        figures = [evaluation.figures["fd_classifier_test"].value for evaluation in (found.second, found.first)]
        assert difference.value == pytest.approx(figures[0] - figures[1])
        assert difference.beyond_noise


def test_models_that_differ_only_by_seed_have_no_winner(trained, real):
    (one, labels), (other, _) = drawn(trained, 9), drawn(trained, 10)
    assert compare_features(one, other, labels, real[1], real[0], CONFIG).verdict.winner is None


def test_sets_of_different_sizes_are_refused(trained, real):
    found, labels = drawn(trained, 9)
    fewer = Features(found.features[:-1], found.logits[:-1])
    with pytest.raises(ValueError, match="equally many images from both models, got 200 and 199"):
        compare_features(found, fewer, labels, real[1], real[0], CONFIG)


@pytest.mark.parametrize(
    ("value", "low", "high", "winner"), [(-1, -2, -0.1, "b"), (1, 0.1, 2, "a"), (1, 0, 2, None), (-1, -2, 0.1, None)]
)
def test_a_winner_needs_an_interval_without_0(value, low, high, winner):
    verdict = judge("fd_x", Difference(value, Interval(low, high)), 0.95)
    assert verdict.winner == winner
    assert ("within the noise" in verdict.text) == (winner is None)
