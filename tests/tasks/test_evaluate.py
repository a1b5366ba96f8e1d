import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.config import NEEDS_MANUAL_ACTION
from tasks import compare_models, evaluate, extractor, reference
from tests.evaluation.conftest import make_dataset
from tests.tasks.small_run import bytes_below, change_params, read_json, small_params, write_datasets, write_model
from tests.tasks.small_run import write_selection as select


@pytest.fixture
def measurable(workspace):
    """A workspace with everything that evaluate reads."""
    small_params()
    write_datasets()
    write_model("models/trained/small")
    extractor.main()
    reference.main()
    return workspace


def run(monkeypatch, what):
    monkeypatch.setattr(sys, "argv", ["evaluate", what])
    evaluate.main()


def test_a_trained_model_gets_figures_a_protocol_and_plots(measurable, monkeypatch, capsys):
    run(monkeypatch, "trained/small")
    values = read_json("metrics/trained/small.json")
    assert {"fd_classifier", "is_classifier", "floor_fd_classifier", "label_agreement"} <= set(values)
    assert values["sampling"] == {"truncation": 1.0}
    assert values["model"]["sha256"] == read_json("models/trained/small/config.json")["sha256"]["model.safetensors"]
    assert values["protocol"]["generated_images"] == 20
    with Image.open("plots/evaluated/trained/small/samples.png") as picture:
        assert picture.width > picture.height
    for name in ("noise", "blur", "jpeg"):
        for folder in ("trained/small", "real"):
            lines = (measurable / f"plots/evaluated/{folder}/robustness-{name}.csv").read_text().splitlines()
            assert lines[0] == "strength,label_agreement,fd_classifier"
            assert len(lines) == 6
    assert values["stability"]["batch_images"] == 5
    assert "trained/small: fd_classifier" in capsys.readouterr().out
    assert read_json("metrics/cost/evaluate.json")["images_per_second"] > 0

    first = bytes_below("metrics/trained") | bytes_below("plots")
    run(monkeypatch, "trained/small")
    assert bytes_below("metrics/trained") | bytes_below("plots") == first


def test_labels_have_the_proportions_of_the_training_images(measurable, monkeypatch):
    """Real images have theirs: with others, a model that ignores the label is closer than a perfect one."""
    shutil.rmtree("data/prepared")
    shutil.rmtree("data/reference")
    counts = np.bincount(make_dataset(Path("data/prepared"), rare=True).labels("train"))
    reference.main()
    run(monkeypatch, "trained/small")
    select("models/candidate", "models/trained/small", "small")
    monkeypatch.setattr(sys, "argv", ["compare_models", "models/candidate", "--out=compared"])
    compare_models.main()
    requested = np.round(20 * counts / counts.sum()).tolist()
    assert requested[0] > 14
    for values in (read_json("metrics/trained/small.json"), read_json("compared/comparison.json")):
        assert values["protocol"]["requested_labels"] == requested


def test_a_finetuned_model_is_sampled_like_the_selected_one(measurable, monkeypatch):
    select("models/selected", "models/trained/small", "small")
    write_model("models/finetuned", seed=1)
    run(monkeypatch, "finetuned")
    assert read_json("metrics/finetuned.json")["sampling"] == {"truncation": 1.0}
    assert (measurable / "plots/evaluated/finetuned/samples.png").is_file()


def test_an_unlabelled_dataset_is_measured_too(workspace, monkeypatch):
    small_params(kind="self_supervised")
    write_datasets(labelled=False)
    write_model("models/trained/small", labelled=False)
    extractor.main()
    reference.main()
    run(monkeypatch, "trained/small")
    values = read_json("metrics/trained/small.json")
    assert "fd_self_supervised" in values
    assert not any(name.startswith("is_") or name == "label_agreement" for name in values)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("trained/other", "models/trained/other: no model found"),
        ("finetuned", "models/finetuned: no model found"),
    ],
)
def test_a_missing_model_is_named(measurable, monkeypatch, capsys, what, message):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, what)
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert message in capsys.readouterr().err


def test_a_reference_of_another_extractor_is_refused(measurable, monkeypatch, capsys):
    change_params(extractor={"seed": 1})
    extractor.main()
    with pytest.raises(SystemExit):
        run(monkeypatch, "trained/small")
    assert "run the stage reference again" in capsys.readouterr().err
    assert not (measurable / "metrics/trained/small.json").exists()
