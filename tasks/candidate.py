"""The candidate stage: the fine-tuned model if it measures better than the selected one, else the selected one.

Of a model that was brought in (`genai base`), the fine-tuned one is the candidate unless it is worse than its base by
more than the noise: it has seen data that the base has not. If the base draws other classes, nothing can be compared.
A few-step model (finetune.kind) is the candidate unless it is worse than its teacher by more than a factor.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from genai_core.config import ModelCardConfig, resolved_metric
from tasks.context import running
from tasks.selection import (
    CODE_FILE,
    NAME_FILE,
    Choice,
    MeasuredModel,
    choose,
    choose_few_step,
    read_choice,
    read_measured,
    write_choice,
)

MODELS = Path("models")
FINETUNED, BASE, CANDIDATE = MODELS / "finetuned", MODELS / "base", MODELS / "candidate"
METRICS = Path("metrics/finetuned.json")


def main() -> None:
    with running("candidate") as context:
        start, metric = context.config.finetune.start, context.config.selection.metric
        finetuned = read_measured("finetuned", FINETUNED, METRICS)
        worst_ratio = context.config.finetune.few_step.worst_ratio
        if context.config.finetune.kind == "few_step":
            teacher = read_choice(MODELS / start) if start == "selected" else measured_base(finetuned)
            choice = choose_few_step(teacher, finetuned, metric, worst_ratio)
        elif start == "selected":
            choice = choose([read_choice(MODELS / start), finetuned], metric)
        else:
            choice = against_base(finetuned, named_base(), json.loads(METRICS.read_text()).get("base"), metric)
        print(choice.reason)
        code = json.loads((MODELS / start / CODE_FILE).read_text())  # fine-tuning does not change the family
        section = card_section(context.config.model_card, choice.reason)
        write_choice(choice, CANDIDATE, extra_files={CODE_FILE: code}, card_section=section)


def named_base() -> MeasuredModel:
    """Return the base under the name that it was brought in by, with the figures of its own selection."""
    return replace(read_choice(BASE), name=json.loads((BASE / NAME_FILE).read_text())["name"])


def measured_base(finetuned: MeasuredModel) -> MeasuredModel:
    """Return the base with its figures on the images that measured the fine-tuned model."""
    measured = json.loads(METRICS.read_text())["base"]
    figures = {name: float(value) for name, value in measured["figures"].items()}
    return replace(named_base(), figures=figures, protocol=finetuned.protocol)


def against_base(finetuned: MeasuredModel, base: MeasuredModel, measured: dict[str, Any] | None, metric: str) -> Choice:
    """Choose the fine-tuned model unless it is worse than its base by more than the noise.

    measured: the base's figures and the differences from them, as the stage evaluate-finetuned writes them; None if the
    two draw different classes.
    """
    choice = choose([finetuned], metric)
    if measured is None:
        return Choice(finetuned, choice.metric, f"{choice.reason}; its base, {base.name}, draws other classes")
    metric = resolved_metric(metric, str(finetuned.protocol.get("extractor")))
    difference = measured["difference"][metric]
    span = f"{metric} {difference['value']:+.4g} ({difference['low']:+.4g} to {difference['high']:+.4g})"
    if difference["low"] <= 0:
        verdict = "better than" if difference["high"] < 0 else "not worse than"
        return Choice(finetuned, metric, f"finetuned is {verdict} {base.name}, which it continues: {span}")
    figures = {name: float(value) for name, value in measured["figures"].items()}
    kept = replace(base, figures=figures, protocol=finetuned.protocol)
    return Choice(kept, metric, f"{base.name} is kept: fine-tuned, it is worse by more than the noise: {span}")


def card_section(card: ModelCardConfig, reason: str) -> str:
    """Return the sections that a publishable model's card needs in addition to how it was made."""
    return (
        f"\n## Licence\n\n{card.licence}\n\n## Intended use\n\n{card.intended_use}\n\n"
        f"## Why this model\n\n{reason}. Its figures are in `selection.json`.\n"
    )


if __name__ == "__main__":
    main()
