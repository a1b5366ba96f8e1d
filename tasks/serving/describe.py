"""What the server tells clients of a model: shape, classes, and which sampling options may have which values."""

import types
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from genai_core.config import DistilledRecipe
from genai_core.config.models import FEW_STEPS
from genai_core.model import Model
from genai_core.models.artifact import WEIGHTS_FILE

# A thousand steps of 64 images would keep everybody waiting; beyond some dozens, images no longer change visibly.
MOST_STEPS = 250
FEW_STEP = "few_step"


def describe(model: Model) -> dict[str, Any]:
    """Return JSON values that describe a loaded model."""
    channels, height, width = model.shape
    return {
        "family": model.family,
        "classes": list(model.classes),
        "image_size": [height, width],
        "channels": channels,
        "parameters": model.description.parameters,
        "dataset": model.description.dataset,
        "sha256": model.description.sha256[WEIGHTS_FILE],
        "sampling": sampling_options(model),
        "noise_shape": list(model.network.noise_shape),
        "can": abilities(model),
    }


def abilities(model: Model) -> list[str]:
    """Return what can be asked of a model besides seeds and classes.

    Previews only of families with more than one network evaluation; others have nothing to show on the way.
    """
    mix = ["mix"] if model.classes else []
    previews = ["previews"] if model.network.has_previews else []
    return [*mix, "walk", "latent", "start", "mask", *previews]


def sampling_options(model: Model) -> dict[str, dict[str, Any]]:
    """Return each option's value and what is allowed: {name: {value, kind, low, high, choices, optional, help}}.

    kind: "integer", "number", "choice" or "numbers" (a list). low and high are inclusive; null: no limit, or not 0
    itself where `above` is given instead of `low`.
    """
    values = model.sampling.model_dump(mode="json")
    fields = type(model.sampling).model_fields
    options = {name: {"value": values[name], **_option(name, field)} for name, field in fields.items()}
    recipe = model.description.config
    if isinstance(recipe, DistilledRecipe):
        # Its levels and its guidance are fixed.
        options = {name: options[name] for name in ("sampler", "steps")}
        options["sampler"]["choices"] = [FEW_STEP]
        # Of four evaluations it can make the first, two or all, but not three.
        numbers = [steps for steps in FEW_STEPS if steps <= recipe.few_step.steps]
        options["steps"] |= {"kind": "choice", "choices": numbers, "low": None, "high": None}
    elif "sampler" in options:
        options["sampler"]["choices"].remove(FEW_STEP)
    return options


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    annotation, optional = _without_none(field.annotation)
    option: dict[str, Any] = {"kind": _kind(annotation), "optional": optional, "help": field.description or ""}
    if option["kind"] == "choice":
        option["choices"] = list(get_args(annotation))
    low: float | None = None
    high: float | None = None
    for limit in field.metadata:
        if isinstance(limit, Ge):
            low = limit.ge  # type: ignore[assignment] # pydantic's limits of numbers are numbers
        elif isinstance(limit, Gt):
            option["above"] = limit.gt
        elif isinstance(limit, Le):
            high = limit.le  # type: ignore[assignment]
    if name == "steps":
        high = MOST_STEPS
    return {**option, "low": low, "high": high}


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kept[0], len(kept) < len(get_args(annotation))
    return annotation, False


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice"
    if origin is not None and origin is not tuple:  # Annotated
        return _kind(get_args(annotation)[0])
    if origin is tuple:
        return "numbers"
    return "integer" if annotation is int else "number"
