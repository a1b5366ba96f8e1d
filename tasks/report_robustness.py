"""Part of the report on disturbed images and stability, from the outputs of reference and evaluate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from genai_core.reporting.curves import curve_svg
from genai_core.reporting.page import Robustness
from tasks.report_parts import PLOTS, Model

KINDS = ("noise", "blur", "jpeg")


def read_robustness(models: Sequence[Model]) -> tuple[Robustness, ...]:
    """Read the curves of real held-out images, then of each model; sets without curves are skipped."""
    found = [_curves("real images, held out", PLOTS / "evaluated" / "real", "")]
    found += [
        _curves(model.measured.name, PLOTS / "evaluated" / model.place, _batches(model.measured.metrics))
        for model in models
    ]
    return tuple(robustness for robustness in found if robustness.curves)


def _curves(name: str, folder: Path, note: str) -> Robustness:
    curves = []
    for kind in KINDS:
        path = folder / f"robustness-{kind}.csv"
        if path.is_file():
            table = pd.read_csv(path)
            strengths = table.pop("strength").to_numpy(float)
            curves += [
                curve_svg(f"{str(figure).replace('_', ' ')}, {kind}", strengths, table[figure].to_numpy(float))
                for figure in reversed(list(table))
            ]
    return Robustness(name, tuple(curves), note)


def _batches(metrics: Mapping[str, Any]) -> str:
    """Describe the block "stability" in one sentence."""
    values = metrics.get("stability") or {}
    if not values:
        return ""
    text = (
        f"The distance between batches of {values['batch_images']:,} images from different seeds is "
        f"{values['generated_mean_fd']:.3g} on average, at most {values['generated_largest_fd']:.3g}"
    )
    if "real_mean_fd" in values:
        text += (
            f"; between equally large batches of training images {values['real_mean_fd']:.3g}, "
            f"at most {values['real_largest_fd']:.3g}"
        )
    return text + "."
