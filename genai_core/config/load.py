"""Read params.yaml, with one line per fault."""

import math
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from genai_core.config.params import Config
from genai_core.config.section import OWN_TAG, PARAMS_FILE, ConfigError, as_written
from genai_core.counted import counted

# What pydantic says in Python's words.
_SECTION, _LIST = "a section with keys and values", "a list, such as [1, 2]"
_ALLOWED = {
    "bool_type": "true or false",
    "dict_type": _SECTION,
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": _LIST,
    "model_attributes_type": _SECTION,
    "model_type": _SECTION,
    "string_type": "text; what looks like a number needs quotes",
    "tuple_type": _LIST,
}


def load_config(path: Path) -> Config:
    """Read and check a params.yaml. Raises ConfigError with one line per fault."""
    try:
        # The parser that DVC uses. Others differ: `1e-3` is a number in one and a string in another.
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run genai in a checkout, or pass one with --workspace") from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {yaml_fault(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections such as data: and models:, got {type(values).__name__}")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(path.name, item) for item in error.errors())) from None


def yaml_fault(error: Exception) -> str:
    """Return what the parser says of a file, in one line."""
    return doubled_key(error) or " ".join(str(error).split())


def doubled_key(error: object) -> str | None:
    """Name the key that a section has twice, of which ruamel.yaml says both values; None for any other fault."""
    if not isinstance(error, DuplicateKeyError):
        return None
    key = re.match(r'found duplicate key "(.*?)" with value "', error.problem, re.DOTALL)
    return f"line {error.problem_mark.line + 1}: the key {key[1] if key else ''} stands there twice; remove one of them"


def fault_at(values: dict[str, Any], key: str) -> str | None:
    """Return what is wrong with the value at a dotted name of a params.yaml, whatever the other values are; or None.

    values: the whole file as plain values. A rule over several keys is not about one value, and so not a fault here.
    """
    try:
        Config.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            location = _location(item)
            if location[: key.count(".") + 1] == key.split("."):
                return _fault(PARAMS_FILE, item)
    return None


def _location(item: Any) -> list[str]:
    """The names that lead to a fault. Pydantic adds the chosen branch of a union, which is not a key of the file."""
    location = [str(part) for part in item["loc"]]
    if location[:1] == ["models"] and len(location) > 2 and item["type"] != "union_tag_invalid":
        location = location[:2] + location[3:]
    if location[:1] == ["extractor"] and len(location) > 1 and item["type"] != "union_tag_invalid":
        location = location[:1] + location[2:]
    return location


def _fault(file: str, item: Any) -> str:
    return f"{file}: {described(item)}"


def described(item: Any) -> str:
    """Format one of pydantic's error items: key, value, what is allowed."""
    kind, context, location = item["type"], item.get("ctx", {}), _location(item)
    key = ".".join(part for part in location if part not in ("[key]", OWN_TAG))
    if kind == "missing":
        return f"{key}: missing; every key must be written out"
    if kind == "extra_forbidden":
        return f"{key}: unknown key; see genai_core/config/ for the available keys"
    if kind == "string_pattern_mismatch" and location[:2] == ["search", "space"]:
        names = "dotted names, such as models.gan.training.learning_rate"
        return f"{'.'.join(location[:-2])}: got {item['input']!r}; allowed: {names}"  # the last two: its key, "[key]"
    if kind == "union_tag_invalid":
        return f"{key}.{_tag(context)}: got {context['tag']!r}; allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{key}.{_tag(context)}: missing; it names the {_tag(context)}"
    if kind == "string_pattern_mismatch" and location[:1] == ["models"]:
        return f"{key}: invalid name; use at most 32 lower-case letters, digits, _ and -, starting with a letter"
    value = item["input"]
    if isinstance(value, float) and not math.isfinite(value):
        return f"{key}: got {value}; allowed: a finite number"
    allowed = _ALLOWED.get(kind) or re.sub(r"^(Input should be |Value error, )", "", item["msg"])
    if kind == "too_short":
        allowed = f"at least {counted(context['min_length'], 'value')}"
    if location[-1:] == [OWN_TAG] and kind != "value_error":
        allowed = f"auto, or {allowed}"
    if kind == "value_error" and isinstance(value, dict):
        # A rule over a whole section: printing its values would hide the fault.
        return f"{key}{': ' if key else ''}{allowed}"
    return f"{key}: got {as_written(value)}; allowed: {allowed}"


def _tag(context: Any) -> str:
    """Return the key that selects the branch of a union; pydantic quotes it."""
    return str(context["discriminator"]).strip("'")
