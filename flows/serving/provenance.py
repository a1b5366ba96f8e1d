"""What each image carries: the model, its data, and how it was drawn. In the answer and inside the file."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from flows.serving.drawing import Wanted
from flows.serving.generation import Generation


def provenance(model: Generation, wanted: Wanted, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is needed to draw the image again. sampling: what the request changed."""
    description = model.description
    options = {name: option["value"] for name, option in description["sampling"].items()}
    return {
        "model": model.name,
        "version": model.version,
        "model_sha256": description["sha256"],
        "family": description["family"],
        "dataset": description["dataset"],
        "class": class_of(model, wanted),
        "seed": wanted.seed,
        "sampling": {**options, **sampling},
        "genai": genai_version(),
    }


def class_of(model: Generation, wanted: Wanted) -> str | None:
    """Return the name of an image's class."""
    return None if wanted.label is None else str(model.description["classes"][wanted.label])


@cache
def genai_version() -> str:
    """Return the project's version."""
    return version("genai-pipeline")
