"""Choose between measured models, and write the folder of the chosen one."""

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_core.config import resolved_metric
from genai_core.evaluation.protocol import comparable
from tasks.context import new_folder

SELECTION_FILE = "selection.json"
CODE_FILE = "code.json"
NAME_FILE = "base.json"  # in models/base: what it was brought in as


@dataclass(frozen=True)
class MeasuredModel:
    """A model folder with its figures and the sampling options they were measured with."""

    name: str
    family: str
    folder: Path
    figures: dict[str, float]
    sampling: dict[str, Any]
    protocol: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The chosen model, the metric that decided, and the reason as a sentence."""

    chosen: MeasuredModel
    metric: str
    reason: str


def choose(contenders: list[MeasuredModel], metric: str) -> Choice:
    """Choose the contender with the smallest `metric`, a distance; the first of equals.

    metric: selection.metric; in fd_auto, the kind of extractor that measured the contenders takes the place of auto.
    Raises ValueError when none has a finite figure, or two were measured with different protocols.
    """
    for other in contenders[1:]:
        try:
            comparable({"protocol": contenders[0].protocol}, {"protocol": other.protocol})
        except ValueError as error:
            raise ValueError(f"{contenders[0].name} and {other.name}: {error}") from None
    metric = resolved_metric(metric, str(contenders[0].protocol.get("extractor"))) if contenders else metric
    finite = [entry for entry in contenders if math.isfinite(entry.figures.get(metric, math.nan))]
    if not finite:
        names = ", ".join(entry.name for entry in contenders) or "none"
        raise ValueError(f"no model has a finite {metric} (measured: {names}); check its training curves")
    ranked = sorted(finite, key=lambda entry: entry.figures[metric])
    best, others = ranked[0], ranked[1:]
    reason = f"{best.name} has the smallest {metric}: {best.figures[metric]:.4g}"
    if others:
        reason += ", against " + ", ".join(f"{entry.figures[metric]:.4g} of {entry.name}" for entry in others)
    return Choice(best, metric, reason)


def choose_few_step(teacher: MeasuredModel, student: MeasuredModel, metric: str, worst_ratio: float) -> Choice:
    """Choose a few-step model if its `metric` is at most `worst_ratio` times its teacher's: it draws much faster.

    Raises as `choose` does.
    """
    choice = choose([teacher, student], metric)
    theirs, own = (model.figures.get(choice.metric, math.nan) for model in (teacher, student))
    ratio = own / theirs if theirs > 0 else math.inf
    compared = f"its {choice.metric} is {own:.4g}, {ratio:.2f} times {theirs:.4g} of {teacher.name}"
    if ratio <= worst_ratio:
        evaluations = student.sampling["steps"]
        drawn = f"{student.name} draws with {evaluations} (sampling.steps)"
        return Choice(student, choice.metric, f"{drawn}, and {compared}")
    reason = (
        f"{teacher.name} is kept: {student.name} draws faster, but {compared}, and finetune.few_step.worst_ratio is "
    )
    return Choice(teacher, choice.metric, f"{reason}{worst_ratio:g}")


def read_measured(name: str, folder: Path, metrics: Path) -> MeasuredModel:
    """Read a model folder and its metrics file. Raises FileNotFoundError that names the missing one."""
    for path in (folder, metrics):
        if not path.exists():
            raise FileNotFoundError(f"{path}: missing, so {name} cannot be compared; run its train and evaluate stages")
    values = json.loads(metrics.read_text())
    figures = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
    family = json.loads((folder / "config.json").read_text())["family"]
    return MeasuredModel(name, family, folder, figures, values["sampling"], values["protocol"])


def write_choice(
    choice: Choice,
    path: Path,
    extra_files: dict[str, Any] | None = None,
    card_section: str = "",
) -> None:
    """Copy the chosen model's folder to `path`, with selection.json and `extra_files` (name -> JSON value).

    card_section: Markdown to append to the model's card.
    """
    chosen = choice.chosen
    selection = {
        "model": chosen.name,
        "family": chosen.family,
        "metric": choice.metric,
        "figures": chosen.figures,
        "sampling": chosen.sampling,
        "protocol": chosen.protocol,
        "reason": choice.reason,
    }
    with new_folder(path) as new:
        shutil.copytree(chosen.folder, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(NAME_FILE))
        for name, value in {SELECTION_FILE: selection, **(extra_files or {})}.items():
            (new / name).write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
        if card_section:
            card = new / "card.md"
            card.write_text(card.read_text() + card_section)


def read_choice(folder: Path) -> MeasuredModel:
    """Read the model in a folder written by `write_choice`."""
    selection = json.loads((folder / SELECTION_FILE).read_text())
    return MeasuredModel(
        name=selection["model"],
        family=selection["family"],
        folder=folder,
        figures=selection["figures"],
        sampling=selection["sampling"],
        protocol=selection["protocol"],
    )
