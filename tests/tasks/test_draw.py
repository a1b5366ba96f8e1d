import sys
from pathlib import Path

import numpy as np

from genai_core.sampling.batch import read_manifest
from tasks import draw
from tests.evaluation.conftest import make_dataset
from tests.tasks.small_run import small_params, write_model, write_selection


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
