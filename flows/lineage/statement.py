"""What a picture of `genai serve` says of itself, as text for a terminal. Anybody can write such a text into a file."""

from collections.abc import Iterator
from typing import Any

from flows.git import printable

# Of flows/serving/provenance.py and drawing.py; any other key is not one of the server's.
_KEYS = (
    *("model", "version", "family", "class", "mix", "seed", "base", "reach", "walk", "latent"),
    *("start", "strength", "mask", "directions", "sampling"),
)
_LONGEST_VALUE, _LONGEST = 60, 160


def statement(provenance: dict[str, Any]) -> str:
    """Return "version=v0.0.1, seed=7, ..." on one line, without control characters, and not much longer than 160."""
    known = ((name, provenance[name]) for name in _KEYS if provenance.get(name) is not None)
    text = ", ".join(f"{name}={value}" for name, value in _flat(known))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... (--json has all)"


def _flat(values: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for name, value in values:
        if isinstance(value, dict):
            for inner, one in value.items():
                yield f"{name}.{_shown(inner)}", _shown(one)
        else:
            yield name, _shown(value)


def _shown(value: Any) -> str:
    text = str(value)
    return printable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")
