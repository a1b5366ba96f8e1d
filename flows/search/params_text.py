"""Write values into params.yaml and keep every other byte of it: comments, order and spaces."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flows.advising.params_file import scalar
from flows.dvc_lock import parsed_yaml
from flows.search import SearchError
from flows.search.space import value_at
from genai_core.config import PARAMS_FILE

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

Edit = tuple[int, int, str]  # first character, the one after the last, new text


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with these values at their dotted names. Raises SearchError if one is not there, and GitError for
    invalid YAML.

    A name must stand in the file with a value that is not a section.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode

    present = parsed_yaml(text.encode(), PARAMS_FILE)
    root = YAML(typ="rt").compose(text)
    edits: list[Edit] = []
    for key, value in values.items():
        name, node = None, root
        for part in key.split("."):
            pairs = node.value if isinstance(node, MappingNode) else []
            name, node = next(((found, child) for found, child in pairs if found.value == part), (None, None))
        if name is None or node is None or isinstance(node, MappingNode):
            raise SearchError(f"{PARAMS_FILE} has no value {key}")
        if value_at(present, key) == value:  # 2.0e-3 stays as it is written
            continue
        edits += _edits(text, name.end_mark.index + 1, node, written(value))
    for start, end, new in sorted(edits, reverse=True):
        after = text[end:].lstrip(" ")
        gap = len(text) - end - len(after)
        if after.startswith("#"):  # the comment stays in its column if the value leaves room
            gap = max(1, gap + end - start - len(new))
        text = text[:start] + new + " " * gap + after
    return text


def _edits(text: str, colon_end: int, node: "Node", new: str) -> Iterator[Edit]:
    """What replaces the value of a key by another text."""
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:  # nothing stands there: null
        yield colon_end, colon_end, f" {new}"
    elif isinstance(node.value, list) and text[start] != "[":  # a list with an item in each line
        yield colon_end, colon_end, f" {new}"
        yield text.rindex("\n", 0, start), _end_of_items(node), ""
    else:
        yield start, end, new


def _end_of_items(node: "Node") -> int:
    """Where the last item of such a list ends. The list's own end is where the next key begins."""
    while isinstance(node.value, list):
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end: int = node.end_mark.index
    return end


def written(value: Any) -> str:
    """Return a value as params.yaml writes it. YAML 1.1 and 1.2 agree on 1.0e-05, and not on 1e-05."""
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}" if e else mantissa
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return scalar(value)
