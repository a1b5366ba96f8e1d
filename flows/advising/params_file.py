"""Write a proposal as params.yaml: the shipped file with the chosen values, each with its reason as a comment."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flows.presets import base_text, changed_text, preset_names, preset_text
from flows.whole_file import write_file
from genai_core.advice.propose import Advice
from genai_core.advice.settings import Setting
from genai_core.config import PARAMS_FILE, ConfigError

# What the last `genai init` wrote, to tell it from a file that somebody has edited since.
WRITTEN = Path(".genai/look/params.yaml")


def base_values() -> dict[str, Any]:
    """Return the values of the shipped params.yaml."""
    from ruamel.yaml import YAML

    values: dict[str, Any] = YAML(typ="safe").load(base_text())
    return values


def proposal_text(advice: Advice, about: Iterable[str]) -> str:
    """Return the params.yaml of a proposal. about: lines for its head, without the comment sign."""
    changes = _as_yaml(_tree(advice.settings))
    text = changed_text(changes, "the proposal", drop={"models": set(base_values()["models"]) - set(advice.models)})
    head = "\n".join(f"# {line}".rstrip() for line in about)
    # An empty line before each section: that of a model that was left out went with it.
    sections = re.sub(r"(?<=[^\n])\n(?=[a-z_]+:)", "\n\n", text)
    return f"{head}\n#\n{sections}"


def is_edited(workspace: Path) -> bool:
    """Whether params.yaml is neither a preset nor what the last `genai init` wrote."""
    path, written = workspace / PARAMS_FILE, workspace / WRITTEN
    if not path.is_file():
        return False
    text = path.read_text()
    if written.is_file() and written.read_text() == text:
        return False
    return text not in map(preset_text, preset_names())


def write_proposal(workspace: Path, text: str, *, force: bool) -> Path:
    """Write the workspace's params.yaml. Raises ConfigError if that would lose edits, unless `force`."""
    path = workspace / PARAMS_FILE
    if not force and is_edited(workspace):
        raise ConfigError(f"{path} exists and was edited; commit or move it, then --force overwrites it")
    write_file(path, text)
    write_file(workspace / WRITTEN, text)
    return path


def _tree(settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the settings as nested mappings."""
    tree: dict[str, Any] = {}
    for setting in settings:
        *sections, key = setting.path
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = setting
    return tree


def _as_yaml(tree: Mapping[str, Any], depth: int = 0) -> str:
    lines = []
    for key, item in tree.items():
        if isinstance(item, Setting) and isinstance(item.value, dict):
            lines.append(f"{'  ' * depth}{key}:  # {item.reason}")
            lines += [f"{'  ' * (depth + 1)}{name}: {scalar(value)}" for name, value in item.value.items()]
        elif isinstance(item, Setting):
            line = f"{'  ' * depth}{key}: {scalar(item.value)}"
            lines.append(f"{line:<27} # {item.reason}" if item.reason else line)
        else:
            lines += [f"{'  ' * depth}{key}:", _as_yaml(item, depth + 1)]
    return "\n".join(lines)


def scalar(value: object) -> str:
    """Return a value as params.yaml writes it: 74_000, true, null, [flip], {low: 1}, "a text"."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {scalar(part)}' for key, part in value.items())}}}"
    text = str(value)
    return text if re.fullmatch(r"[a-z_]+", text) else json.dumps(text, ensure_ascii=False)
