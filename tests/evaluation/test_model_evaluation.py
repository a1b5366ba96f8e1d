import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.bootstrap import centred_interval
from genai_core.evaluation.metrics_file import metrics_json, replicates_csv
from genai_core.evaluation.model_evaluation import evaluate_features
from genai_core.evaluation.reference import RealImages, build_reference
from genai_core.evaluation.set_figures import Resamples, distance_by_class, sample_set
from genai_core.image_size import ImageSize
from tests.evaluation.conftest import evaluation_config, real_images, stripes


@pytest.fixture(scope="module")
def real(trained, dataset):
    """(description, reference) of the stripes."""
    extractor, description = trained
    features = {split: extract_features(extractor, dataset.images(split), 100) for split in ("train", "test")}
    reference = build_reference(features, real_images(dataset), description, evaluation_config())
    return description, reference


def evaluate(trained, real, images, labels, config=None):
    features = extract_features(trained[0], images, 50)
    return evaluate_features(features, labels, real[1], real[0], config or evaluation_config())


def values(evaluation):
    return {name: figure.value for name, figure in evaluation.figures.items()}


def of_kind(kind):
    """Names of the figures that every extractor has."""
    both = ("fd", "kid", "precision", "recall", "density", "coverage")
    names = {f"{x}_{kind}{suffix}" for x in both for suffix in ("", "_test")} | {f"floor_{x}_{kind}" for x in both}
    return names | {f"fd_{kind}_over_floor"} | {f"{x}_{kind}" for x in ("fd_inf", "near_copies", "near_identical")}


def test_a_perfect_generator_reaches_the_floor(trained, real):
    images, labels = stripes(100, seed=9)
    figures = values(evaluate(trained, real, images, labels))
    assert set(figures) == of_kind("classifier") | {
        "is_classifier",
        "is_classifier_std",
        "is_classifier_real",
        "label_agreement",
    }
    assert 0.3 < figures["fd_classifier_over_floor"] < 3
    assert figures["label_agreement"] > 0.95
    assert 1 < figures["is_classifier"] <= 2


def test_noise_is_far_away_and_has_a_low_label_agreement(trained, real):
    noise = np.random.default_rng(0).integers(0, 256, (100, 1, 12, 12), dtype=np.uint8)
    figures = values(evaluate(trained, real, noise, np.arange(100) % 2))
    assert figures["fd_classifier_over_floor"] > 5
    assert figures["label_agreement"] < 0.8


def test_the_train_split_has_distance_0(trained, real, dataset):
    images = dataset.images("train")
    config = evaluation_config(total_images=len(images))
    figures = values(evaluate(trained, real, images, None, config))
    assert figures["fd_classifier"] == pytest.approx(0, abs=1e-6)
    assert figures["fd_classifier_test"] > 0.01
    assert "label_agreement" not in figures


def test_the_protocol_records_the_measuring_conditions(trained, real):
    images, labels = stripes(100)
    protocol = evaluate(trained, real, images, labels).protocol
    assert protocol.extractor == "classifier"
    assert protocol.extractor_test_accuracy == trained[1].test_accuracy
    assert (protocol.reference_images, protocol.test_images, protocol.floor_images) == (240, 80, 80)
    assert (protocol.generated_images, protocol.seed, protocol.is_splits) == (100, 5, 2)
    assert protocol.dataset == real[1].description.dataset


def test_a_self_supervised_extractor_has_its_own_names_and_no_class_scores(real):
    description = replace(real[0], kind="self_supervised", test_accuracy=0.9)
    features = Features(real[1].splits["test"].features, np.zeros((80, 4), np.float32))
    figures = values(evaluate_features(features, np.zeros(80, np.int64), real[1], description, evaluation_config()))
    assert set(figures) == of_kind("self_supervised")


def test_the_reference_of_another_extractor_is_refused(trained, real):
    other = replace(real[0], sha256="f" * 64)
    images, labels = stripes(10)
    with pytest.raises(ValueError, match="run the stage reference again"):
        evaluate(trained, (other, real[1]), images, labels)


def test_few_images_and_a_poor_extractor_cause_warnings(trained, real):
    images, labels = stripes(8)
    config = evaluation_config(total_images=8)
    poor = replace(real[0], test_accuracy=0.05)
    warnings = evaluate(trained, (poor, real[1]), images, labels, config).warnings
    assert "8 generated images for 8 features" in warnings[0]
    assert "no distance at infinitely many images (fd_inf): 8 images are fewer than 50" in warnings[-1]
    assert "little better than chance" in warnings[-2]
    images, labels = stripes(100)
    assert evaluate(trained, real, images, labels).warnings == ()


def test_intervals_contain_their_figures(trained, real):
    images, labels = stripes(100, seed=9)
    evaluation = evaluate(trained, real, images, labels)
    without = {name for name, figure in evaluation.figures.items() if figure.interval is None}
    assert without == {n for n in evaluation.figures if n.startswith("floor_")} | {
        "is_classifier_std",
        "is_classifier_real",
    }
    for name, figure in evaluation.figures.items():
        if figure.interval is not None:
            assert figure.interval.low <= figure.value <= figure.interval.high, name
            assert figure.interval.high > figure.interval.low, name
            assert figure.replicates.shape == (40,), name


@pytest.mark.parametrize("drawn", ["real", "noise", "one image", "few images", "far away"])
def test_intervals_stay_within_the_figures_bounds(trained, real, drawn):
    """At the extremes: nothing or everything in common with the real images, one class or both."""
    images, labels = stripes(24, seed=9)
    if drawn == "noise":
        images = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    if drawn == "one image":
        images = np.resize(images[:1], images.shape)
    if drawn == "few images":
        images, labels = np.resize(images[:3], images.shape), np.resize(labels[:3], labels.shape)
    if drawn == "far away":
        images = np.full_like(images, 255)
        images[0] = 0
    evaluation = evaluate(trained, real, images, labels, evaluation_config(total_images=24, is_splits=12))
    allowed = {"fd": (0, np.inf), "density": (0, 200 / 5), "is": (1, 2), "kid": (-np.inf, np.inf)}
    found = [(name, name.partition("_")[0], figure) for name, figure in evaluation.figures.items()]
    found += [(name, name.partition("_")[0], f) for name, part in evaluation.by_class.items() for f in part.values()]
    assert len(found) > 20
    for name, kind, figure in found:
        least, most = (-np.inf, np.inf) if name.startswith("fd_inf") else allowed.get(kind, (0, 1))
        if figure.interval is not None:
            assert least <= figure.interval.low <= figure.interval.high <= most, name


def test_the_interval_over_the_floor_is_cut_at_0(trained, real):
    images, labels = stripes(24, seed=9)
    evaluation = evaluate(trained, real, images, labels, evaluation_config(total_images=24))
    figure = evaluation.figures["fd_classifier_over_floor"]
    free = centred_interval(figure.value, figure.replicates, 0.95)
    assert free.low < 0, "the uncut interval must be below 0, or this test shows nothing"
    assert figure.interval.low == 0


def test_splits_of_few_images_cause_a_warning(trained, real):
    images, labels = stripes(100, seed=9)
    few = evaluate(trained, real, images, labels, evaluation_config(is_splits=50))
    (warning,) = few.warnings
    found = re.match(r"2 images per split: is_classifier is (\S+) over 50 splits and (\S+) over all images", warning)
    assert found, warning
    assert float(found[1]) < 0.9 * float(found[2])
    assert few.figures["is_classifier"].value == pytest.approx(float(found[1]), rel=1e-3)
    # As many splits as images, which a config file could not have: each score would be 1.
    none = evaluate(trained, real, images[:20], labels[:20], evaluation_config(is_splits=20))
    assert any("no inception score: 20 images in 20 splits are fewer than 2 per split" in w for w in none.warnings)
    assert "is_classifier" not in none.figures


def test_the_near_identical_share_of_new_images_is_the_percentile_with_fewer_real_images():
    """Nearest neighbours get closer with more images, so only 200 of the 2,000 generated images are compared."""
    config = evaluation_config(total_images=2000, pairwise_images=5000, near_copy_percentile=10.0)
    generator = np.random.default_rng(0)

    def drawn(count):
        features = generator.normal(size=(count, 4)).astype(np.float32)
        return Features(features, np.zeros((count, 0), np.float32))

    description = ExtractorDescription("self_supervised", 4, 0, ImageSize.square(12), 1, sha256="e" * 64, resize="none")
    images = RealImages("d" * 64, (), ImageSize.square(12), 1, {"train": None, "test": None})
    reference = build_reference({"train": drawn(200), "test": drawn(200)}, images, description, config)
    evaluation = evaluate_features(drawn(2000), None, reference, description, config)
    figure = evaluation.figures["near_identical_self_supervised"]
    assert figure.interval.low <= 0.1 <= figure.interval.high
    assert figure.value < 0.2
    assert figure.replicates.shape == (40,)


def test_planted_training_images_are_detected(trained, real, dataset):
    images, labels = stripes(100, seed=9)
    assert evaluate(trained, real, images, labels).warnings == ()
    images[::4] = dataset.images("train")[30:55]
    evaluation = evaluate(trained, real, images, labels)
    assert evaluation.figures["near_copies_classifier"].value >= 0.25
    assert set(evaluation.copies.closest(25)) == set(range(0, 100, 4))
    assert set(evaluation.copies.index[::4]) == set(range(30, 55))
    assert "copies of training images" in evaluation.warnings[-1]


def test_a_planted_collapse_is_detected(trained, real):
    images, labels = stripes(100, seed=9)
    few = np.resize(images[:5], images.shape)
    evaluation = evaluate(trained, real, few, labels)
    assert evaluation.figures["near_identical_classifier"].value == 1
    assert evaluation.figures["recall_classifier"].value < 0.3
    assert "the same few images repeated" in evaluation.warnings[-1]


def test_a_missing_class_has_no_distance_and_low_coverage(trained, real):
    images, labels = stripes(300, seed=9)
    images, labels = images[labels == 0][:100], labels[labels == 0][:100]
    by_class = evaluate(trained, real, images, labels).by_class
    assert set(by_class["fd_classifier_class"]) == {"across"}
    covered = by_class["coverage_classifier_class"]
    assert covered["across"].value > 0.5
    assert covered["down"].value < 0.1


def test_an_unlabelled_set_has_no_figures_per_class(trained, real):
    images, _ = stripes(100, seed=9)
    assert evaluate(trained, real, images, None).by_class == {}
    config = evaluation_config()
    features = extract_features(trained[0], images, 50).features
    sample, resamples = sample_set(features, None, config), Resamples(100, None, config)
    with pytest.raises(ValueError, match="need labels in both sets; the measured images have none"):
        distance_by_class(sample, real[1].splits["train"], resamples, classes=2)


def test_the_metrics_file_has_figures_at_the_top_level(trained, real):
    images, labels = stripes(100, seed=9)
    evaluation = evaluate(trained, real, images, labels)
    written = json.loads(json.dumps(metrics_json(evaluation), allow_nan=False))
    assert written["fd_classifier"] == pytest.approx(evaluation.figures["fd_classifier"].value, rel=1e-5)
    assert written["interval"]["fd_classifier"]["low"] <= written["fd_classifier"]
    assert set(written["fd_classifier_class"]) == {"across", "down"}
    assert written["protocol"]["libraries"]["numpy"] == np.__version__
    table = pd.read_csv(io.StringIO(replicates_csv(evaluation)))
    assert len(table) == 40
    np.testing.assert_allclose(table["fd_classifier"], evaluation.figures["fd_classifier"].replicates, rtol=1e-5)
