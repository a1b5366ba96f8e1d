import sys
from pathlib import Path

import pytest
from PIL import Image

from flows.retraining.gate import gate_facts
from genai_core.config import NEEDS_MANUAL_ACTION
from tasks import compare_models, extractor, reference
from tests.tasks.small_run import bytes_below, change_params, read_json, small_params, write_datasets, write_model
from tests.tasks.small_run import write_selection as select


@pytest.fixture
def measurable(workspace):
    """A workspace with an extractor, a reference and two models with different seeds."""
    small_params()
    change_params(evaluation={"bootstrap_resamples": 20})
    write_datasets()
    write_model("models/trained/small")
    write_model("models/other", seed=1)
    select("models/candidate", "models/other", "small")
    extractor.main()
    reference.main()
    return workspace


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare_models", *arguments])
    compare_models.main()


def test_two_models_a_single_one_and_the_values_for_the_gate(measurable, monkeypatch):
    run(monkeypatch, "models/candidate", "--against=models/trained/small", "--out=both", "--against-name=champion")
    values = read_json("both/comparison.json")
    assert (values["a"]["name"], values["b"]["name"]) == ("champion", "models/candidate")
    for name, difference in values["differences"].items():
        own, other = (values[side]["figures"][name] for side in "ba")
        assert difference["value"] == pytest.approx(own - other, abs=1e-4 * max(1, abs(own)))
        assert difference["low"] <= difference["high"]
    assert {"fd_classifier", "fd_classifier_test", "kid_classifier", "near_copies_classifier"} <= set(
        values["differences"]
    )
    assert values["verdict"]["winner"] in ("a", "b", None)
    with Image.open("both/samples.png") as picture:
        assert picture.width > picture.height

    facts = gate_facts(values, 0.5)
    assert facts.label_accuracy is not None
    assert facts.label_accuracy == values["protocol"]["extractor_test_accuracy"]
    assert facts.same_protocol
    assert values["gate"]["metric"] == values["verdict"]["metric"] == "fd_classifier_test"
    assert facts.candidate.distance == pytest.approx(values["b"]["figures"]["fd_classifier_test"], rel=1e-4)
    figures = values["b"]["figures"]
    assert facts.candidate.scale == pytest.approx(
        max(figures["fd_classifier"], figures["floor_fd_classifier"]), rel=1e-4
    )
    assert facts.difference.value == pytest.approx(facts.candidate.distance - facts.champion.distance)
    assert set(facts.candidate.class_coverage) == set(facts.classes)
    assert 0 <= facts.recall_of_real <= 1

    Path("both/thesis.txt").write_text("mine")  # the folder is the user's
    first = bytes_below("both")
    run(monkeypatch, "models/candidate", "--against=models/trained/small", "--out=both", "--against-name=champion")
    assert bytes_below("both") == first

    run(monkeypatch, "models/candidate", "--out=alone")
    alone = read_json("alone/comparison.json")
    assert (alone["a"], alone["verdict"], alone["differences"]) == (None, None, {})
    assert gate_facts(alone, None).champion is None
    assert alone["gate"]["candidate"] == values["gate"]["candidate"]


def test_the_gates_split_is_configurable(measurable, monkeypatch):
    change_params(gate={"against": "train"})
    run(monkeypatch, "models/candidate", "--against=models/trained/small", "--out=both")
    values = read_json("both/comparison.json")
    gate, difference = values["gate"], values["differences"]["fd_classifier"]
    assert gate["metric"] == values["verdict"]["metric"] == "fd_classifier"
    assert gate["difference"]["low"] == pytest.approx(difference["low"])
    assert gate["candidate"]["distance"] == pytest.approx(values["b"]["figures"]["fd_classifier"], rel=1e-4)


def test_groups_of_similar_images_replace_missing_classes(workspace, monkeypatch):
    small_params()
    change_params(evaluation={"bootstrap_resamples": 20}, extractor={"kind": "self_supervised"})
    change_params(selection={"metric": "fd_self_supervised"})
    write_datasets(labelled=False)
    write_model("models/trained/small", labelled=False)
    extractor.main()
    reference.main()
    run(monkeypatch, "models/trained/small", "--against=models/trained/small", "--out=both")
    gate = read_json("both/comparison.json")["gate"]
    assert gate["classes"] == []
    assert list(gate["candidate"]["class_coverage"]) == [f"group {number}" for number in range(1, 5)]
    assert gate["candidate"]["class_coverage"] == gate["champion"]["class_coverage"]


def test_a_model_does_not_differ_from_itself(measurable, monkeypatch):
    run(monkeypatch, "models/trained/small", "--against=models/trained/small", "--out=same")
    values = read_json("same/comparison.json")
    assert all(d["value"] == d["low"] == d["high"] == 0 for d in values["differences"].values())
    assert values["verdict"]["winner"] is None
    assert "within the noise" in values["verdict"]["text"]


def test_incomparable_models_are_refused_without_output(measurable, monkeypatch, capsys):
    write_model("models/unlabelled", labelled=False)
    select("models/chosen", "models/unlabelled", "small")
    for folder, message in (
        ("models/chosen", "other classes than the reference has"),
        ("models/none", "no model found"),
        ("models/other", "no sampling options found"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, folder, "--against=models/trained/small", "--out=both")
        assert stopped.value.code == NEEDS_MANUAL_ACTION
        assert message in capsys.readouterr().err
    assert not (measurable / "both").exists()
    # A retraining must continue if the data has other classes than the production model.
    run(monkeypatch, "models/candidate", "--against=models/chosen", "--or-alone", "--out=both")
    facts = gate_facts(read_json("both/comparison.json"), None)
    assert facts.champion is None
    assert "other classes than the reference has" in facts.alone
