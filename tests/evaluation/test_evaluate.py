from dataclasses import replace

import numpy as np
import pytest

from genai_core.evaluation.evaluate import evaluate_features
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.reference import build_reference
from tests.evaluation.conftest import evaluation_config, stripes


@pytest.fixture(scope="module")
def real(trained, dataset):
    """(description, reference): of the stripes."""
    extractor, description = trained
    features = {split: extract_features(extractor, dataset.images(split), 100) for split in ("train", "test")}
    reference = build_reference(
        features,
        evaluation_config(),
        kind=description.kind,
        extractor_sha256=description.sha256,
        dataset=description.dataset,
    )
    return description, reference


def evaluate(trained, real, images, labels, config=None):
    features = extract_features(trained[0], images, 50)
    return evaluate_features(features, labels, real[1], real[0], config or evaluation_config())


def test_a_perfect_generator_reaches_the_floor(trained, real):
    images, labels = stripes(100, seed=9)
    figures = evaluate(trained, real, images, labels).figures
    assert set(figures) == {
        "fd_classifier",
        "fd_classifier_test",
        "floor_fd_classifier",
        "fd_classifier_over_floor",
        "is_classifier",
        "is_classifier_std",
        "is_classifier_real",
        "label_agreement",
    }
    assert 0.3 < figures["fd_classifier_over_floor"] < 3
    assert figures["label_agreement"] > 0.95
    assert 1 < figures["is_classifier"] <= 2


def test_noise_is_far_off_and_labels_do_not_show(trained, real):
    noise = np.random.default_rng(0).integers(0, 256, (100, 1, 12, 12), dtype=np.uint8)
    figures = evaluate(trained, real, noise, np.arange(100) % 2).figures
    assert figures["fd_classifier_over_floor"] > 5
    assert figures["label_agreement"] < 0.8


def test_the_train_split_itself_is_at_no_distance(trained, real, dataset):
    images = dataset.images("train")
    config = evaluation_config(total_images=len(images))
    figures = evaluate(trained, real, images, None, config).figures
    assert figures["fd_classifier"] == pytest.approx(0, abs=1e-6)
    assert figures["fd_classifier_test"] > 0.01
    assert "label_agreement" not in figures


def test_the_protocol_names_what_decides_the_figures(trained, real):
    images, labels = stripes(100)
    protocol = evaluate(trained, real, images, labels).protocol
    assert protocol.extractor == "classifier"
    assert protocol.extractor_test_accuracy == trained[1].test_accuracy
    assert (protocol.reference_images, protocol.test_images, protocol.floor_images) == (240, 80, 80)
    assert (protocol.generated_images, protocol.seed, protocol.is_splits) == (100, 5, 2)
    assert protocol.dataset == real[1].description.dataset


def test_a_self_supervised_extractor_names_its_figures_and_scores_no_classes(real):
    description = replace(real[0], kind="self_supervised", test_accuracy=0.9)
    features = Features(real[1].splits["test"].features, np.zeros((80, 4), np.float32))
    figures = evaluate_features(features, np.zeros(80, np.int64), real[1], description, evaluation_config()).figures
    assert set(figures) == {
        "fd_self_supervised",
        "fd_self_supervised_test",
        "floor_fd_self_supervised",
        "fd_self_supervised_over_floor",
    }


def test_the_reference_of_another_extractor_is_refused(trained, real):
    other = replace(real[0], sha256="f" * 64)
    images, labels = stripes(10)
    with pytest.raises(ValueError, match="run the stage reference again"):
        evaluate(trained, (other, real[1]), images, labels)


def test_few_images_and_a_poor_extractor_are_warned_of(trained, real):
    images, labels = stripes(8)
    config = evaluation_config(total_images=8)
    poor = replace(real[0], test_accuracy=0.05)
    warnings = evaluate(trained, (poor, real[1]), images, labels, config).warnings
    assert "8 generated images for 8 features" in warnings[0]
    assert "little better than chance" in warnings[-1]
    images, labels = stripes(100)
    assert evaluate(trained, real, images, labels).warnings == ()
