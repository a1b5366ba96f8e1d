"""The select stage: the best of the trained models goes on to fine-tuning."""

import hashlib
from pathlib import Path

from tasks.context import running
from tasks.selection import CODE_FILE, choose, read_measured, write_choice

TRAINED, METRICS, SELECTED = Path("models/trained"), Path("metrics/trained"), Path("models/selected")
FAMILIES = Path("genai_core/models")


def main() -> None:
    with running("select") as context:
        # Not every folder there is: what was trained for a model that params.yaml no longer has stays on the disk.
        names = list(context.config.models)
        contenders = [read_measured(name, TRAINED / name, METRICS / f"{name}.json") for name in names]
        metric = context.config.selection.metric
        choice = choose(contenders, metric)
        print(choice.reason)
        write_choice(choice, metric, SELECTED, extra_files={CODE_FILE: family_code(choice.chosen.family)})


def family_code(family: str) -> dict[str, str]:
    """The hashes of the family's file and of its own networks, by path.

    Which family's code the stages after this one run is known only now, so dvc.yaml cannot name it: they depend on this
    instead, and a change to another family's code does not reach them.
    """
    paths = [FAMILIES / f"{family}.py", *sorted((FAMILIES / "networks" / family).glob("*.py"))]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    main()
