"""Read deployments/prefect.yaml, and check it for faults that would appear only when a run starts."""

import ast
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from genai_core import GenaiError
from genai_core.config import yaml_fault

DEPLOYMENTS = Path("deployments/prefect.yaml")


class ServicesError(GenaiError):
    """A service could not be started or deployed; the message says which one and where its log is."""


def deployment_file(workspace: Path) -> list[dict[str, Any]]:
    """The deployments of deployments/prefect.yaml. Raises ServicesError."""
    path = workspace / DEPLOYMENTS
    try:
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ServicesError(f"{path}: no such file; run genai in a checkout of the project") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ServicesError(f"{path}: not valid YAML: {yaml_fault(error)}") from None
    found = values.get("deployments") if isinstance(values, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) and "name" in entry for entry in found):
        raise ServicesError(f"{path}: expected a list `deployments`, each with a name")
    return found


def work_pools(workspace: Path) -> tuple[str, ...]:
    """The work pools that the deployments name."""
    named = [(entry.get("work_pool") or {}).get("name") for entry in deployment_file(workspace)]
    return tuple(dict.fromkeys(str(name) for name in named if name))


def faults(workspace: Path) -> list[str]:
    """Missing entry points, parameters that a flow does not accept, duplicate names: one line each."""
    found: list[str] = []
    names: set[str] = set()
    for entry in deployment_file(workspace):
        name = str(entry["name"])
        if name in names:
            found.append(f"deployment {name}: duplicate name; rename one of them")
        names.add(name)
        found += [f"deployment {name}: {fault}" for fault in _entry_faults(workspace, entry)]
    return found


def check_deployments(workspace: Path) -> None:
    """Raises ServicesError with every fault."""
    if found := faults(workspace):
        raise ServicesError("\n".join([f"{workspace / DEPLOYMENTS}:", *found]))


def _entry_faults(workspace: Path, entry: dict[str, Any]) -> list[str]:
    """The faults of one deployment. Parses the flow's file: an import would take seconds and run its code."""
    entrypoint = str(entry.get("entrypoint") or "")
    file, colon, name = entrypoint.rpartition(":")
    if not (colon and file and name):
        return [f"entrypoint {entrypoint!r}; expected FILE:FLOW, such as flows/runs/pipeline.py:pipeline"]
    path = workspace / file
    if not path.is_file():
        return [f"unknown flow {entrypoint}: no such file: {file}"]
    try:
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError as error:
        return [f"{file}, line {error.lineno}: {error.msg}"]
    flows = {function.name: function for function in functions if any(map(_is_flow, function.decorator_list))}
    if name not in flows:
        return [f"unknown flow {entrypoint}: {file} has {', '.join(flows) or 'no flow'}"]
    arguments = flows[name].args
    accepted = [argument.arg for argument in [*arguments.args, *arguments.kwonlyargs]]
    passed = dict.fromkeys(entry.get("parameters") or {})
    for trigger in entry.get("triggers") or []:
        passed |= dict.fromkeys(trigger.get("parameters") or {})
    unknown = [key for key in passed if key not in accepted]
    return [f"unknown parameters {', '.join(unknown)}; {name} accepts {', '.join(accepted)}"] if unknown else []


def _is_flow(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "flow"
