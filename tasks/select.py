"""The select stage: choose the best trained model for fine-tuning."""

import hashlib
from pathlib import Path
from typing import Any

from genai_core.config import AUTO, FinetuneConfig
from tasks.context import running
from tasks.selection import CODE_FILE, MeasuredModel, choose, read_measured, write_choice

TRAINED, METRICS, SELECTED = Path("models/trained"), Path("metrics/trained"), Path("models/selected")
FAMILIES = Path("genai_core/models")


def main() -> None:
    with running("select") as context:
        # Not every existing folder: those of models removed from params.yaml stay on disk.
        names = list(context.config.models)
        contenders = [read_measured(name, TRAINED / name, METRICS / f"{name}.json") for name in names]
        choice = choose(contenders, context.config.selection.metric)
        print(choice.reason)
        depends = family_code(choice.chosen.family) | teacher_sampling(choice.chosen, context.config.finetune)
        write_choice(choice, SELECTED, extra_files={CODE_FILE: depends})


def teacher_sampling(chosen: MeasuredModel, config: FinetuneConfig) -> dict[str, Any]:
    """Return how the model draws, if a few-step model is to learn that; other fine-tunings do not depend on it."""
    is_teacher = config.kind == "few_step" and config.few_step.teacher == AUTO
    return {"sampling": chosen.sampling} if is_teacher else {}


def family_code(family: str) -> dict[str, str]:
    """Return the hashes of the family's file and of its own networks, by path.

    Only now is it known which family's code the later stages run, so dvc.yaml cannot name it. They depend on these
    hashes instead, and a change to another family's code does not affect them.
    """
    paths = [FAMILIES / f"{family}.py", *sorted((FAMILIES / "networks" / family).glob("*.py"))]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    main()
