import sys
from pathlib import Path

import numpy as np
import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.model import Model
from genai_core.sampling.batch import read_manifest
from tasks import draw
from tests.evaluation.conftest import make_dataset
from tests.tasks.small_run import read_json, small_params, write_model, write_selection


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["draw", *arguments, "--seed=3"])
    draw.main()


def test_a_batch_has_the_class_proportions_of_the_dataset_that_it_is_compared_with(workspace, monkeypatch):
    small_params()
    write_model("models/trained/small")
    write_selection("models/candidate", "models/trained/small", "small")
    counts = np.bincount(make_dataset(Path("like"), rare=True).labels("train"))
    make_dataset(Path("unlabelled"), labelled=False)
    run(monkeypatch, "batch", "--images=20", "--like=like")
    drawn = np.bincount(read_manifest(Path("batch"))["label"])
    assert drawn.tolist() == np.round(20 * counts / counts.sum()).tolist()
    assert drawn[0] > 14
    for out, options in (("plain", ()), ("no-classes", ("--like=unlabelled",))):
        run(monkeypatch, out, "--images=4", *options)
        assert read_manifest(Path(out))["label"].tolist() == [0, 1, 0, 1]


def test_any_model_with_its_own_classes_options_and_form(workspace, monkeypatch):
    small_params()
    write_model("models/trained/small")
    named = ("--model=models/trained/small", "--class=down", "--class=across", "--set=truncation=0.5", "--format=tar")
    run(monkeypatch, "batch", "--images=3", *named)
    assert read_manifest(Path("batch"))["class_name"].tolist() == ["down", "across", "down"]
    assert read_json("batch/provenance.json")["sampling"] == {"truncation": 0.5}
    assert Path("batch/images-00000.tar").is_file()


def test_a_named_models_pixels_are_those_of_the_page(workspace, monkeypatch):
    """Another batch size rounds differently, and batches on the page have sizes of their own."""
    small_params()
    write_model("models/trained/small")
    write_selection("models/candidate", "models/trained/small", "small")
    sizes, own = [], Model.draw

    def noted(self, *arguments, batch_images, **options):
        sizes.append(batch_images)
        return own(self, *arguments, batch_images=batch_images, **options)

    monkeypatch.setattr(Model, "draw", noted)
    run(monkeypatch, "named", "--images=2", "--model=models/trained/small")
    run(monkeypatch, "measured", "--images=2")
    assert sizes == [None, 4]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--class=zebra", "no such class: 'zebra'"),
        ("--set=steps=4", "gan has no option steps; available: truncation"),
        ("--set=seed=3", "gan has no option seed; available: truncation"),
        ("--set=form=tar", "gan has no option form; available: truncation"),
        ("--set=truncation=wide", "truncation"),
        ("--set=truncation", "expected NAME=VALUE"),
        ("--model=nowhere", "no model found"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(workspace, monkeypatch, capsys, argument, message):
    small_params()
    write_model("models/trained/small")
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "batch", "--images=3", "--model=models/trained/small", argument)
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert message in capsys.readouterr().err
    assert not Path("batch").exists()
