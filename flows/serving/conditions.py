"""What a request asks of each image: its seed, its class or mixture, and sampling options that the model allows."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from genai_core.seeds import LARGEST_SEED


def seeds_of(count: int, seed: int | None, seeds: Sequence[int] | None) -> list[int]:
    """Return one seed per image. Raises ApiError."""
    if seeds is not None:
        return list(seeds)
    first = secrets.randbelow(LARGEST_SEED - count + 2) if seed is None else seed
    if first + count - 1 > LARGEST_SEED:
        message = f"seed: {first} for {count} images goes beyond {LARGEST_SEED}"
        raise ApiError(422, message, param="seed", code="invalid_value")
    return [first + index for index in range(count)]


def labels_of(model: Generation, count: int, class_name: str | None, param: str = "class") -> list[int | None]:
    """Return one label per image: the named class, or each class in turn, as the library draws. Raises ApiError."""
    classes: list[str] = model.description["classes"]
    if class_name is None:
        return [index % len(classes) if classes else None for index in range(count)]
    return [label_of(model, class_name, param)] * count


def label_of(model: Generation, class_name: str, param: str) -> int:
    """Return the index of a class. Raises ApiError."""
    classes: list[str] = model.description["classes"]
    if not classes:
        message = f"{param}: the model {model.name} has no classes; leave it out"
        raise ApiError(422, message, param=param, code="unknown_class")
    if class_name not in classes:
        listed = ", ".join(classes[:50]) + (" ..." if len(classes) > 50 else "")
        message = f"{param}: no such class: {class_name[:80]!r}; available: {listed}"
        raise ApiError(422, message, param=param, code="unknown_class")
    return classes.index(class_name)


def shares_of(model: Generation, mix: Mapping[str, float]) -> dict[str, float]:
    """Return the classes of a mixture with weights that add up to 1. Raises ApiError."""
    for name in mix:
        label_of(model, name, "mix")
    total = sum(mix.values())
    if total <= 0.0:
        raise ApiError(422, "mix: expected at least one weight above 0", param="mix", code="invalid_value")
    return {name: weight / total for name, weight in mix.items() if weight > 0.0}


def checked_sampling(model: Generation, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes of sampling options if each is known and within its range. Raises ApiError.

    The process checks what depends on several options.
    """
    options: dict[str, dict[str, Any]] = model.description["sampling"]
    for name, value in changes.items():
        param = f"sampling.{name}"[:80]
        if name not in options:
            known = ", ".join(options)
            raise ApiError(422, f"{param}: no such option; available: {known}", param=param, code="unknown_option")
        fault = _fault(options[name], value)
        if fault:
            raise ApiError(422, f"{param}: got {str(value)[:80]}; {fault}", param=param, code="out_of_range")
    return dict(changes)


def _fault(option: dict[str, Any], value: Any) -> str | None:
    kind = option["kind"]
    if value is None:
        return None if option["optional"] else f"expected a {kind}"
    if kind == "choice":
        return None if value in option["choices"] else f"expected one of {', '.join(map(str, option['choices']))}"
    if kind == "numbers":
        numbers = isinstance(value, list) and len(value) <= 1000 and all(map(_is_number, value))
        return None if numbers else "expected a list of numbers"
    if not _is_number(value) or (kind == "integer" and type(value) is not int):
        return f"expected an {kind}" if kind == "integer" else f"expected a {kind}"
    low, high, above = option["low"], option["high"], option.get("above")
    too_low = (low is not None and value < low) or (above is not None and value <= above)
    if too_low or (high is not None and value > high):
        least = f"from {low}" if low is not None else f"above {above}" if above is not None else ""
        most = f"to {high}" if high is not None else ""
        return f"expected a value {' '.join(filter(None, [least, most]))}"
    return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9
