"""Figures of any set of images against any other."""

import numpy as np
import pytest

from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.image_sets import MeasuredSet, score_sets
from tests.evaluation.conftest import evaluation_config

CLASSES = 3
EXTRACTOR = ExtractorDescription("module", 4, CLASSES, None, None, sha256="e" * 64, resize="none")


def measured(count, seed):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 4)).astype(np.float32)
    logits = 20 * np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]
    return MeasuredSet(Features(features, logits), (1, 12, 12), (None,) * count)


def near_copies(images, real, config):
    return score_sets(images, real, EXTRACTOR, config).figures["near_copies_module"].value


@pytest.mark.parametrize("pairwise_images", [200, 3000])
def test_the_near_copy_share_of_new_images_is_the_percentile_for_any_pairwise_images(pairwise_images):
    """The threshold uses distances to all other real images, because near copies are searched among all."""
    config = evaluation_config(pairwise_images=pairwise_images, near_copy_percentile=10.0)
    assert 0.05 < near_copies(measured(1000, 0), measured(3000, 1), config) < 0.15


def test_duplicates_among_real_images_do_not_hide_copies():
    """A third of them have a duplicate at distance 0, so the threshold is small; exact copies are still detected."""
    once = measured(300, 1).features
    features = Features(*(np.concatenate([x, x[:60]]) for x in (once.features, once.logits)))
    real = MeasuredSet(features, (1, 12, 12), (None,) * 360)
    assert near_copies(real.first(100), real, evaluation_config()) == 1
    assert near_copies(measured(100, 2), real, evaluation_config()) == 0


def test_splits_too_small_for_a_score_cause_a_warning():
    config, real = evaluation_config(is_splits=20), measured(200, 1)
    found = score_sets(measured(30, 0), real, EXTRACTOR, config)
    assert "is_module" not in found.figures
    assert "no inception score: 30 images in 20 splits are fewer than 2 per split" in found.warnings[-1]
    found = score_sets(measured(60, 0), real, EXTRACTOR, config)
    assert found.figures["is_module"].value == pytest.approx(CLASSES)
    assert found.warnings == ()
    found = score_sets(measured(40, 0), real, EXTRACTOR, config)
    assert "2 images per split: is_module is 2 over 20 splits and 2.9" in found.warnings[-1]
    ends = found.figures["is_module"].interval
    assert 1 <= ends.low <= ends.high <= 2
