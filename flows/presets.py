"""Presets: whole params.yaml files for common datasets, by name.

presets/digits.yaml is complete. The others contain only the differences, so each key and its comment is in one place.
`genai init` writes complete files.
"""

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.representer import RoundTripRepresenter

from flows.whole_file import write_file
from genai_core.config import PARAMS_FILE, ConfigError

FOLDER = Path(__file__).parents[1] / "presets"
BASE = "digits"


def preset_names() -> list[str]:
    """The names of all presets, the base first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != BASE, name))


def preset_text(name: str) -> str:
    """The params.yaml of a preset. Raises ConfigError, which lists the names."""
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; available: {', '.join(preset_names())}")
    if name == BASE:
        return base_text()
    text = (FOLDER / f"{name}.yaml").read_text()
    about = text[: text.index("\n\n")]  # the preset's own introduction: costs and expected results
    return f"{about}\n#\n{changed_text(text, name)}"


def base_text() -> str:
    """The params.yaml that the project comes with."""
    return (FOLDER / f"{BASE}.yaml").read_text()


def changed_text(changes: str, where: str, drop: Mapping[str, Collection[str]] = MappingProxyType({})) -> str:
    """The shipped params.yaml with the values in `changes`, which is YAML; a key keeps its comment if it gets no other.

    where: the source of the changes, for an error. drop: keys to leave out, by section.
    """
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    values = yaml.load(base_text())
    _take(values, yaml.load(changes), where)
    for section, keys in drop.items():
        for key in keys:
            del values[section][key]
    written = io.StringIO()
    yaml.dump(values, written)
    return written.getvalue()


def write_preset(workspace: Path, name: str, *, force: bool) -> Path:
    """Write the workspace's params.yaml. Raises ConfigError if that would lose edits, unless `force`."""
    path, text = workspace / PARAMS_FILE, preset_text(name)
    if path.exists() and not force and path.read_text() not in map(preset_text, preset_names()):
        raise ConfigError(f"{path} exists and differs from every preset; --force overwrites it")
    write_file(path, text)
    return path


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, not as an empty value."""


_Representer.add_representer(
    type(None), lambda representer, _value: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _take(values: CommentedMap, changes: CommentedMap, where: str) -> None:
    """Put `changes` into `values`; a key keeps its comment unless the change has one."""
    for key, value in changes.items():
        if key not in values:
            raise ConfigError(f"presets: {where}.{key}: not a key of presets/{BASE}.yaml")
        if isinstance(value, CommentedMap) and isinstance(values[key], CommentedMap) and values[key]:
            _take(values[key], value, f"{where}.{key}")
            continue
        values[key] = value
        comment = _comment(changes, key)
        if comment is not None:
            own = _comment(values, key)
            if own is None:
                values.yaml_add_eol_comment(comment.value.splitlines()[0].removeprefix("# "), key)
            else:
                # The rest of the token are the empty lines before the next section.
                own.value = comment.value.splitlines()[0] + "\n" + own.value.partition("\n")[2]


def _comment(values: CommentedMap, key: Any) -> Any:
    """ruamel's token of the comment after a value, or None."""
    item = values.ca.items.get(key)
    token = item[2] if item else None
    return token if token and token.value.strip() else None
