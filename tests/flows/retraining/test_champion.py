"""The accuracy of production's classifier, read from production's commit."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.git import commit_of
from flows.retraining.champion import champion_label_accuracy
from tests.flows.conftest import shell


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"protocol": {"extractor": "classifier", "extractor_test_accuracy": 0.99}}, 0.99),
        ({"protocol": {"extractor": "self_supervised", "extractor_test_accuracy": 0.99}}, None),  # of its own task
        ({"protocol": {"extractor": "inception", "extractor_test_accuracy": None}}, None),
        ({"protocol": "none"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_accuracy_is_read_from_the_commit_not_the_working_tree(
    tmp_path: Path, figures: dict[str, object] | None, expected: float | None
) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "README").write_text("a checkout")
    if figures is not None:
        (tmp_path / "metrics/finetuned.json").write_text(json.dumps(figures))
    shell(tmp_path, "git init -q && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm figures")
    (tmp_path / "metrics/finetuned.json").write_text(
        json.dumps({"protocol": {"extractor": "classifier", "extractor_test_accuracy": 0.1}})
    )
    production = SimpleNamespace(commit=commit_of(tmp_path))
    assert champion_label_accuracy(tmp_path, production) == expected


def test_without_production_there_is_no_accuracy(tmp_path: Path) -> None:
    assert champion_label_accuracy(tmp_path, None) is None
