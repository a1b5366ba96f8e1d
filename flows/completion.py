"""Shell completion of stages, versions, models, runs and presets. Reads files only; never imports DVC or Prefect."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(names: Callable[[Path], Iterable[str]]) -> Completer:
    """Return click's `shell_complete` for the names that `names` finds in a workspace."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        workspace = context.obj or context.find_root().params.get("workspace") or Path()
        try:
            return [name for name in names(Path(workspace)) if name.startswith(typed)]
        except Exception:  # for example half-edited files: completion must not print a traceback into the prompt
            return []

    return complete


def stage_names(workspace: Path) -> list[str]:
    """Return the stages of dvc.yaml. A `foreach` gives its own name and one per entry: train, train@gan."""
    stages = _yaml(workspace / "dvc.yaml")["stages"]
    names: list[str] = []
    for name, stage in stages.items():
        names.append(name)
        if "foreach" in stage:
            names += [f"{name}@{entry}" for entry in _entries(stage["foreach"], workspace)]
    return names


def model_names(workspace: Path) -> list[str]:
    """Return the names that `genai compare` accepts for the models of this workspace."""
    folder = workspace / "models"
    return [path.parent.name for path in sorted(folder.glob("**/config.json")) if path.parent.name != "extractor"]


def _entries(foreach: Any, workspace: Path) -> list[str]:
    """The entries of a foreach: a list, a mapping, or `${key}` of params.yaml."""
    if isinstance(foreach, str):
        value = _yaml(workspace / "params.yaml")
        for key in foreach.removeprefix("${").removesuffix("}").split("."):
            value = value[key]
        foreach = value
    return [str(entry) for entry in foreach]


def _yaml(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path)
