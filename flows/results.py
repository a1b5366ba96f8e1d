"""The figures of the last run, from the metrics files. For the terminal, Prefect's tables and the tests."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from genai_core.config import PARAMS_FILE, load_config
from genai_core.config.extractor import AUTO

FINETUNED = "finetuned"


def model_rows(workspace: Path, stages: Collection[str] | None = None) -> list[dict[str, Any]]:
    """One row per measured model of params.yaml, in its order, then the fine-tuned one. Figures are rounded.

    stages: only the models that these measure; None: every metrics file.

    Columns: model, FD, IS, floor (FD of held-out real images), FD/floor (with equal numbers of images, so not the
    quotient of the two columns), agreement (share of images that the classifier assigns to the requested class),
    seconds (training and measuring). A figure that was not measured is "-".
    """
    config = load_config(workspace / PARAMS_FILE)
    rows = []
    for name in [*(f"trained/{model}" for model in config.models), FINETUNED]:
        path = workspace / "metrics" / f"{name}.json"
        if path.is_file() and (stages is None or measured_by(name) in stages):
            figures = json.loads(path.read_text())
            rows.append(_row(workspace, name, _kind(config.extractor.kind, figures), figures))
    return rows


def measured_by(name: str) -> str:
    """The stage that measures a model, by the model's name in a row."""
    return "evaluate-finetuned" if name == FINETUNED else f"evaluate@{name.rpartition('/')[2]}"


def _kind(configured: str, figures: dict[str, Any]) -> str:
    """Return the extractor's kind, which names the figures: with auto, the kind that measured them."""
    return str(figures["protocol"]["extractor"]) if configured == AUTO else configured


def _row(workspace: Path, name: str, extractor: str, figures: dict[str, Any]) -> dict[str, Any]:
    model = name.rpartition("/")[2]
    stages = ["finetune" if name == FINETUNED else f"train@{model}", measured_by(name)]
    columns = {
        "FD": f"fd_{extractor}",
        "IS": f"is_{extractor}",
        "floor": f"floor_fd_{extractor}",
        "FD/floor": f"fd_{extractor}_over_floor",
        "agreement": "label_agreement",
    }
    return {
        "model": name,
        **{column: round(figures[key], 3) if key in figures else "-" for column, key in columns.items()},
        "seconds": round(sum(_seconds(workspace, stage) for stage in stages), 1),
    }


def _seconds(workspace: Path, stage: str) -> float:
    path = workspace / "metrics" / "cost" / f"{stage}.json"
    return float(json.loads(path.read_text())["seconds"]) if path.is_file() else 0.0
