"""What each image carries: the model, its data, and how it was drawn. In the answer and inside the file."""

from functools import cache
from importlib.metadata import version
from typing import Any

from flows.serving.drawing import Plan, Wanted


def provenance(plan: Plan, image: Wanted) -> dict[str, Any]:
    """Return the model and everything that the image was drawn from. Uploads and latents are only mentioned."""
    model, description = plan.model, plan.model.description
    options = {name: option["value"] for name, option in description["sampling"].items()}
    condition = {"class": class_of(plan, image)} if image.mix is None else {"mix": dict(image.mix)}
    return {
        "model": model.name,
        "version": model.version,
        "model_sha256": description["sha256"],
        "family": description["family"],
        "dataset": description["dataset"],
        **condition,
        "seed": image.seed,
        **image.origin,
        "sampling": {**options, **plan.sampling},
        "genai": genai_version(),
    }


def class_of(plan: Plan, image: Wanted) -> str | None:
    """Return the name of an image's class; None for a mixture and without classes."""
    return None if image.label is None else str(plan.model.description["classes"][image.label])


@cache
def genai_version() -> str:
    """Return the project's version."""
    return version("genai-pipeline")
