"""The table of figures, from metrics files like those of the stages."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.results import measured_by, model_rows
from genai_core.config import load_config
from tests.flows.conftest import ROOT, parameter, set_parameter

FIGURES = {
    "fd_classifier": 1.23456,
    "is_classifier": 9.0,
    "floor_fd_classifier": 0.5,
    "fd_classifier_over_floor": 2.47,
    "label_agreement": 0.98765,
    "protocol": {"kind": "classifier"},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    set_parameter(tmp_path, "extractor.kind", "classifier")
    set_parameter(tmp_path, "selection.metric", "fd_classifier")
    return tmp_path


def write(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def test_no_metrics_no_rows(workspace: Path) -> None:
    assert model_rows(workspace) == []


def test_one_row_per_measured_model(workspace: Path) -> None:
    models = list(load_config(workspace / "params.yaml").models)
    for model in reversed(models):
        write(workspace / "metrics" / "trained" / f"{model}.json", FIGURES)
    write(workspace / "metrics" / "trained" / "removed-from-params.json", FIGURES)
    write(workspace / "metrics" / "finetuned.json", {**FIGURES, "fd_classifier": 0.9})
    write(workspace / "metrics" / "cost" / f"train@{models[0]}.json", {"seconds": 10.06})
    write(workspace / "metrics" / "cost" / f"evaluate@{models[0]}.json", {"seconds": 1.0})
    write(workspace / "metrics" / "cost" / "finetune.json", {"seconds": 2.0})
    rows = model_rows(workspace)
    assert [row["model"] for row in rows] == [*(f"trained/{model}" for model in models), "finetuned"]
    expected = {"FD": 1.235, "IS": 9.0, "floor": 0.5, "FD/floor": 2.47, "agreement": 0.988, "seconds": 11.1}
    assert rows[0] == {"model": f"trained/{models[0]}", **expected}
    assert rows[-1] == {"model": "finetuned", **expected, "FD": 0.9, "seconds": 2.0}


def test_figures_are_named_by_their_extractor(workspace: Path) -> None:
    set_parameter(workspace, "extractor.kind", "self_supervised")
    set_parameter(workspace, "selection.metric", "fd_self_supervised")
    figures = {"fd_self_supervised": 3.0, "floor_fd_self_supervised": 1.0}
    write(workspace / "metrics" / "finetuned.json", figures)
    (row,) = model_rows(workspace)
    assert (row["FD"], row["IS"], row["floor"], row["agreement"]) == (3.0, "-", 1.0, "-")
    assert parameter(workspace, "extractor.kind") == "self_supervised"


def test_auto_shows_the_figures_of_the_extractor_that_measured(workspace: Path) -> None:
    set_parameter(workspace, "extractor.kind", "auto")
    set_parameter(workspace, "selection.metric", "fd_auto")
    figures = {"fd_self_supervised": 3.0, "protocol": {"extractor": "self_supervised"}}
    write(workspace / "metrics" / "finetuned.json", figures)
    (row,) = model_rows(workspace)
    assert row["FD"] == 3.0


def test_rows_of_selected_stages(workspace: Path) -> None:
    models = list(load_config(workspace / "params.yaml").models)
    for name in (f"trained/{models[0]}", f"trained/{models[1]}", "finetuned"):
        write(workspace / "metrics" / f"{name}.json", FIGURES)
    rows = model_rows(workspace, {f"train@{models[0]}", f"evaluate@{models[1]}", "evaluate-finetuned"})
    assert [row["model"] for row in rows] == [f"trained/{models[1]}", "finetuned"]
    assert model_rows(workspace, ()) == []


def test_a_metrics_file_belongs_to_the_stage_that_writes_it() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    branch = stages["evaluate"]["do"]["metrics"]
    assert "metrics/trained/${key}.json" in {path for entry in branch for path in entry}
    assert measured_by("trained/gan") == "evaluate@gan"
    assert "metrics/finetuned.json" in {path for entry in stages[measured_by("finetuned")]["metrics"] for path in entry}
