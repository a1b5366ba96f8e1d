"""One chosen value of params.yaml with its reason, and how chosen values change a whole params.yaml."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A value for a key such as data.image_size. reason: one line, the comment beside the value; empty: none."""

    key: str
    value: Any
    reason: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))


def with_settings(base: Mapping[str, Any], settings: Iterable[Setting], models: Iterable[str]) -> dict[str, Any]:
    """Return the values of a params.yaml with these settings, and of its models only these."""
    values = copy.deepcopy(dict(base))
    kept = set(models)
    values["models"] = {name: block for name, block in values["models"].items() if name in kept}
    for setting in settings:
        *sections, key = setting.path
        section = values
        for name in sections:
            section = section[name]
        section[key] = setting.value
    return values


def round_number(value: float) -> int:
    """Round to two digits, so that a person can read and compare it."""
    return int(float(f"{value:.2g}"))
