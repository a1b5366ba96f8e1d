"""The stages of a trial: which of them the space changes, which all trials share, and what identifies them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.graph import dvc_stages, open_repo, path_of, read_graph, stage_name
from flows.search import SearchError
from flows.search.space import Target
from flows.search.study import Fingerprint
from genai_core.config import SearchConfig

if TYPE_CHECKING:
    from dvc.stage import Stage


@dataclass(frozen=True)
class TrialStages:
    """shared: stages that no key of the space affects. changed: the others, up to the target.

    unstored: the outputs of `changed` that git tracks instead of DVC, such as metrics.
    """

    shared: tuple[str, ...]
    changed: tuple[str, ...]
    unstored: tuple[str, ...]
    fingerprint: Fingerprint


def trial_stages(checkout: Path, target: Target, search: SearchConfig) -> TrialStages:
    """Read the stages of a trial in a checkout. Raises GraphError, or SearchError for a key that changes no figure."""
    space = tuple(search.space)
    with open_repo(checkout) as repo:
        wanted = {stage.name for stage in read_graph(repo).up_to([target.stage]).stages}
        stages = [(stage, upstream) for stage, upstream in dvc_stages(repo) if stage_name(stage) in wanted]
        varied: set[str] = set()
        read: set[str] = set()
        for stage, upstream in stages:
            own = _keys_read(stage, space)
            read |= own
            if own or any(stage_name(other) in varied for other in upstream):
                varied.add(stage_name(stage))
        if idle := [key for key in space if key not in read]:
            raise SearchError(f"search.space: {idle[0]}: {target.stage} and the stages before it do not depend on it")
        changed = [stage for stage, _ in stages if stage_name(stage) in varied]
        return TrialStages(
            shared=tuple(stage_name(stage) for stage, _ in stages if stage.cmd and stage_name(stage) not in varied),
            changed=tuple(stage_name(stage) for stage in changed),
            unstored=tuple(path_of(out) for stage in changed for out in stage.outs if not out.use_cache),
            fingerprint=_fingerprint([stage for stage, _ in stages], search),
        )


def _keys_read(stage: "Stage", space: Collection[str]) -> set[str]:
    from dvc.dependency.param import ParamsDependency

    params = [name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params]
    return {key for key in space for name in params if _is_within(key, name) or _is_within(name, key)}


def _is_within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _fingerprint(stages: "list[Stage]", search: SearchConfig) -> Fingerprint:
    """From code, data, and parameters other than those that vary, of all stages of a trial, and from `search`."""
    from dvc.dependency.param import ParamsDependency

    made = {path_of(out) for stage in stages for out in stage.outs}
    code: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    data: dict[str, Any] = {}
    commands: dict[str, Any] = {}
    for stage in stages:
        if stage.is_data_source:
            data.update({path_of(out): out.hash_info.value for out in stage.outs})
            continue
        commands[stage_name(stage)] = stage.cmd
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                for name, value in dep.read_params().items():
                    parameters.update(_leaves(name, value, search.space))
            elif not any(_is_inside(path_of(dep), path) for path in made):
                code[path_of(dep)] = dep.get_hash().value if dep.exists else None
    tried = search.model_dump(mode="json", exclude={"fresh_seed"})
    return Fingerprint({"search": tried, "code": code, "data": data, "commands": commands, "parameters": parameters})


def _leaves(name: str, value: Any, without: Collection[str]) -> dict[str, Any]:
    if name in without:
        return {}
    if isinstance(value, dict):
        return {
            key: leaf
            for part, inner in value.items()
            for key, leaf in _leaves(f"{name}.{part}", inner, without).items()
        }
    return {name: value}


def _is_inside(path: str, output: str) -> bool:
    return path == output or path.startswith(f"{output}/") or output.startswith(f"{path}/")
