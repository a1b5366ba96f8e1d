"""File formats of an evaluation: JSON for `dvc metrics diff`, and a CSV table of the resamples."""

from typing import Any

import numpy as np

from genai_core.evaluation.model_evaluation import Evaluation
from genai_core.evaluation.set_figures import Figure

SIGNIFICANT_DIGITS = 6


def metrics_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return figures by name (nested for classes), {low, high} under "interval", and the protocol."""
    figures: dict[str, Any] = {name: _rounded(figure.value) for name, figure in evaluation.figures.items()}
    intervals: dict[str, Any] = {
        name: _ends(figure) for name, figure in evaluation.figures.items() if figure.interval is not None
    }
    for name, classes in evaluation.by_class.items():
        figures[name] = {label: _rounded(figure.value) for label, figure in classes.items()}
        intervals[name] = {label: _ends(figure) for label, figure in classes.items()}
    return {**figures, "interval": intervals, "protocol": evaluation.protocol.to_json()}


def replicates_csv(evaluation: Evaluation) -> str:
    """Return a table, one column per figure and one row per resample; the same row of two models is a pair."""
    columns = {name: figure.replicates for name, figure in evaluation.figures.items() if figure.replicates is not None}
    rows = np.column_stack(list(columns.values()))
    lines = [",".join(columns), *(",".join(f"{value:.{SIGNIFICANT_DIGITS}g}" for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _ends(figure: Figure) -> dict[str, float]:
    assert figure.interval is not None
    return {"low": _rounded(figure.interval.low), "high": _rounded(figure.interval.high)}


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
