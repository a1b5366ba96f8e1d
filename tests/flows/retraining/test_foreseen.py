"""A rejection that no candidate can avoid is said before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.retraining.facts import Situation, facts_of
from flows.retraining.foreseen import foreseen_rejection
from flows.services.doctor_retraining import check_gate
from genai_core.config import load_config
from tests.flows.conftest import ROOT, set_parameter, shell
from tests.flows.retraining.test_facts import IMAGES, difference

SAME_CLASSES = {**IMAGES, "classes": [{"name": name, "before": 9, "after": 9} for name in ("cat", "dog")]}


def measured_by(folder: Path, kind: str) -> str:
    """Commit production's figures; returns the commit."""
    (folder / "metrics").mkdir()
    protocol = {"extractor": kind, "extractor_test_accuracy": 0.9}
    (folder / "metrics/finetuned.json").write_text(json.dumps({"protocol": protocol}))
    shell(folder, "git add metrics && git commit -q -m production")
    return shell(folder, "git rev-parse HEAD").strip()


def foreseen(
    folder: Path,
    situation: Situation,
    *,
    kind: str,
    before: str,
    most: float,
    classes: tuple[str, ...] = ("cat", "dog"),
) -> str | None:
    values = {"extractor.kind": kind, "selection.metric": f"fd_{kind}", "gate.max_accuracy_drop": most}
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for key, value in values.items():
        set_parameter(folder, key, value)
    assert situation.production is not None
    assert situation.shape is not None
    here = replace(
        situation,
        config=load_config(folder / "params.yaml"),
        production=replace(situation.production, commit=measured_by(folder, before)),
        shape=replace(situation.shape, classes=classes),
    )
    change = difference(SAME_CLASSES)
    return foreseen_rejection(folder, here, facts_of(folder, here, change, requested=False)[0], change)


@pytest.mark.parametrize(
    ("kind", "before", "words"),
    [
        ("self_supervised", "self_supervised", ("extractor.kind to classifier", "v0.0.1 was measured without")),
        ("self_supervised", "classifier", ("extractor.kind to classifier", ", or gate.max_accuracy_drop to 1")),
        ("classifier", "self_supervised", ("set gate.max_accuracy_drop to 1 for this retraining",)),
    ],
)
def test_labels_that_no_classifier_can_check(
    kind: str,
    before: str,
    words: tuple[str, ...],
    tmp_path: Path,
    situation: Situation,
) -> None:
    said = foreseen(tmp_path, situation, kind=kind, before=before, most=0.05)
    assert said is not None
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("kind", "before", "classes", "most"),
    [
        ("classifier", "classifier", ("cat", "dog"), 0.05),
        ("self_supervised", "self_supervised", ("cat", "dog"), 1.0),
        ("self_supervised", "self_supervised", (), 0.05),
    ],
)
def test_what_the_gate_can_judge(
    kind: str,
    before: str,
    classes: tuple[str, ...],
    most: float,
    tmp_path: Path,
    situation: Situation,
) -> None:
    assert foreseen(tmp_path, situation, kind=kind, before=before, classes=classes, most=most) is None


def test_other_classes_are_not_compared_so_the_rule_passes(tmp_path: Path, situation: Situation) -> None:
    config = situation.config.model_copy(
        update={"extractor": situation.config.extractor.model_copy(update={"kind": "self_supervised"})}
    )
    here, change = replace(situation, config=config), difference(IMAGES)
    assert foreseen_rejection(tmp_path, here, facts_of(tmp_path, here, change, requested=False)[0], change) is None
    same = difference(SAME_CLASSES)
    assert foreseen_rejection(tmp_path, here, facts_of(tmp_path, here, same, requested=False)[0], same)
    unknown = difference(None)
    assert foreseen_rejection(tmp_path, here, facts_of(tmp_path, here, unknown, requested=False)[0], unknown) is None


def test_doctor_names_the_settings(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for key, value in (("extractor.kind", "self_supervised"), ("selection.metric", "fd_self_supervised")):
        set_parameter(tmp_path, key, value)
    assert check_gate(tmp_path).status == "warn"
    (tmp_path / "data/prepared").mkdir(parents=True)
    for classes, status in (([], "ok"), (["cat", "dog"], "warn")):
        (tmp_path / "data/prepared/dataset.json").write_text(json.dumps({"classes": classes}))
        assert check_gate(tmp_path).status == status
    assert "extractor.kind to classifier" in str(check_gate(tmp_path))
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert check_gate(tmp_path).status == "ok"
