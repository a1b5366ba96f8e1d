"""Write values into params.yaml and keep every other byte of it: comments, order and spaces."""

from collections.abc import Mapping
from typing import Any

from flows.advising.params_file import scalar
from flows.search import SearchError
from flows.search.space import value_at
from genai_core.config import PARAMS_FILE


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with these values at their dotted names. Raises SearchError if one is not there.

    A name must stand in the file with a value that is not a section.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode

    root = YAML(typ="rt").compose(text)
    present = YAML(typ="safe").load(text)
    edits = []
    for key, value in values.items():
        node = root
        for name in key.split("."):
            pairs = node.value if isinstance(node, MappingNode) else []
            node = next((child for found, child in pairs if found.value == name), None)
        if node is None or isinstance(node, MappingNode):
            raise SearchError(f"{PARAMS_FILE} has no value {key}")
        if value_at(present, key) == value:  # 2.0e-3 stays as it is written
            continue
        edits.append((node.start_mark.index, node.end_mark.index, written(value)))
    for start, end, new in sorted(edits, reverse=True):
        after = text[end:].lstrip(" ")
        gap = len(text) - end - len(after)
        if after.startswith("#"):  # the comment stays in its column if the value leaves room
            gap = max(1, gap + end - start - len(new))
        text = text[:start] + new + " " * gap + after
    return text


def written(value: Any) -> str:
    """Return a value as params.yaml writes it. YAML 1.1 and 1.2 agree on 1.0e-05, and not on 1e-05."""
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}" if e else mantissa
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return scalar(value)
