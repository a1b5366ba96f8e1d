import pytest

from genai_core.reporting.summary import ReportedModel, summarise


def measured(name, sha256, fd=4.0, over_floor=2.0, agreement=0.9, **protocol):
    metrics = {
        "fd_classifier": fd,
        "floor_fd_classifier": 1.9,
        "fd_classifier_over_floor": over_floor,
        "is_classifier": 8.0,
        "is_classifier_real": 9.0,
        "label_agreement": agreement,
        "model": {"family": "gan", "sha256": sha256, "parameters": 12},
        "protocol": {
            "extractor": "classifier",
            "extractor_test_accuracy": 0.99,
            "floor_images": 360,
            "generated_images": 2000,
            **protocol,
        },
    }
    return ReportedModel(name, metrics, {"seconds": 3.5}, {"images_per_second": 100.0})


def test_each_model_is_a_row_and_the_candidate_is_identified_by_its_weights():
    summary = summarise([measured("one", "a"), measured("two", "b", fd=3.0)], "b")
    assert [row.name for row in summary.rows] == ["one", "two"]
    assert [row.is_candidate for row in summary.rows] == [False, True]
    assert summary.candidate.fd == 3.0
    assert (summary.candidate.training_s, summary.candidate.images_per_s) == (3.5, 100.0)
    assert (summary.real.floor_fd, summary.real.inception_score, summary.real.test_accuracy) == (1.9, 9.0, 0.99)


def test_the_verdict_is_one_sentence_with_the_model_and_its_distance():
    verdict = summarise([measured("two", "b", over_floor=2.04)], "b").verdict
    assert verdict == (
        "The candidate is two: its images are 2.0 times as far from the training images as held-out real images, "
        "and 90.0% of them show the requested class."
    )


def test_a_model_at_the_floor_is_as_close_as_real_images():
    assert (
        "as close to the training images as held-out real images"
        in summarise([measured("m", "a", over_floor=0.8)], "a").verdict
    )


def test_figures_of_another_protocol_are_marked():
    rows = summarise([measured("old", "a", generated_images=10), measured("new", "b")], "b").rows
    assert [row.same_protocol for row in rows] == [False, True]


def test_without_classes_and_a_floor_the_verdict_names_the_distance():
    model = measured("m", "a")
    metrics = {
        name: value
        for name, value in model.metrics.items()
        if name not in ("label_agreement", "fd_classifier_over_floor", "is_classifier", "is_classifier_real")
    }
    summary = summarise([ReportedModel("m", metrics, {}, {})], "a")
    assert summary.verdict == "The candidate is m: its images are at a Fréchet distance of 4 from the training images."
    row = summary.candidate
    assert (row.inception_score, row.label_agreement, row.fd_over_floor, row.training_s) == (None, None, None, None)


def test_each_warning_is_said_once_with_its_models():
    one, two, old = measured("one", "a"), measured("two", "b"), measured("old", "c")
    one.metrics["warnings"], two.metrics["warnings"] = ["few images", "alike"], ["few images"]
    assert summarise([one, two, old], "b").warnings == ("one, two: few images", "one: alike")


def test_among_equal_weights_the_last_is_the_candidate():
    rows = summarise([measured("base", "a"), measured("fine-tuned", "a")], "a").rows
    assert [row.is_candidate for row in rows] == [False, True]


def test_an_unmeasured_candidate_is_refused():
    with pytest.raises(ValueError, match="no metrics file is for the candidate's weights, cccccccccccc"):
        summarise([measured("m", "a")], "c" * 64)
