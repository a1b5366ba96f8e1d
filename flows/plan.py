"""What a run would do and why, before anything starts: DVC's own decision, made in advance and put into words.

DVC decides stage by stage while it runs, and says little of its reasons. The plan walks the same graph, compares the
same hashes and asks the same run-cache. For a stage that is to be restored its outputs' hashes are known beforehand,
so that the stages below it can be decided too; below a stage that is to run, nothing is known until it has run.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flows.graph import Graph, GraphError, dvc_stages, open_repo, path_of, read_graph, stage_name
from flows.hashes import Contents
from flows.locked import LOCK_FILE, parsed_yaml
from flows.replaced import counted_changes, replaced_outputs

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo
    from dvc.stage import Stage

Action = Literal["run", "restore", "keep"]
Read = TypeVar("Read")

_WRITING_S = 0.5  # DVC takes milliseconds to write dvc.lock anew


@dataclass(frozen=True)
class StagePlan:
    """What will happen to one stage. `reasons` is empty exactly when it is kept.

    inputs: the hashes of its dependencies, by path, as far as they are known before anything runs.
    outputs: of what lies at its outputs' paths now. replaced: what a run overwrites of it that is nowhere else.
    """

    stage: str
    action: Action
    reasons: tuple[str, ...]
    inputs: Mapping[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    outputs: Mapping[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    replaced: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_source(self) -> bool:
        """Data that a *.dvc file tracks, and no stage makes."""
        return self.stage.endswith(".dvc")


@dataclass(frozen=True)
class Plan:
    """One entry a stage, in the graph's order."""

    stages: tuple[StagePlan, ...]

    def __getitem__(self, stage: str) -> StagePlan:
        return next(entry for entry in self.stages if entry.stage == stage)

    @property
    def nothing_to_do(self) -> bool:
        return all(entry.action == "keep" for entry in self.stages)

    @property
    def replaced(self) -> tuple[str, ...]:
        """For people, one line for each output that somebody changed."""
        said = "a run replaces it. Move away what you want to keep"
        return tuple(f"{output}: {said}" for entry in self.stages for output in entry.replaced)

    def count(self, action: Action) -> int:
        return sum(entry.action == action for entry in self.stages)


def plan_of(workspace: Path, stages: Iterable[str]) -> Plan:
    """What a run of the workspace would do now. Changes nothing. Raises GraphError."""

    def plan() -> Plan:
        with open_repo(workspace) as repo:
            return make_plan(repo, read_graph(repo).up_to(stages))

    return read_twice(plan)


def read_twice(read: Callable[[], Read]) -> Read:
    """What `read` finds; once more a moment later when it cannot read dvc.lock: a run beside this one may write it."""
    try:
        return read()
    except GraphError as error:
        if LOCK_FILE not in str(error):
            raise
        time.sleep(_WRITING_S)
        return read()


def make_plan(repo: "Repo", graph: Graph) -> Plan:
    """Decide every stage of `graph`, a part of the repo's that holds all that its stages depend on. Changes nothing."""
    return _planned(repo, graph, Contents(repo))


def hashes_to_restore(repo: "Repo") -> frozenset[str]:
    """DVC's hashes of the outputs that a run would now take from DVC's cache, by dvc.lock or by the run-cache.

    Raises GraphError, also where data that are tracked lie neither in the workspace nor in the cache.
    """
    contents = Contents(repo)
    _planned(repo, read_graph(repo), contents)
    return contents.restored_hashes


def _planned(repo: "Repo", graph: Graph, contents: Contents) -> Plan:
    wanted = {stage.name for stage in graph.stages}
    actions: dict[str, Action] = {}
    plans = []
    for stage, upstream in dvc_stages(repo):
        if stage_name(stage) not in wanted:
            continue
        plan = _decide(stage, upstream, contents, actions)
        if plan.action != "keep" and not stage.is_data_source:
            there = {path_of(out): out.get_hash().value if out.exists else None for out in stage.outs}
            replaced = tuple(replaced_outputs(stage, there, contents))
            plan = replace(plan, inputs=_known_inputs(stage, contents), outputs=there, replaced=replaced)
        actions[plan.stage] = plan.action
        if plan.action == "run" and not stage.is_data_source:
            contents.mark_unknown(stage.outs)
        plans.append(plan)
    return Plan(tuple(plans))


def _decide(stage: "Stage", upstream: list["Stage"], contents: Contents, actions: Mapping[str, Action]) -> StagePlan:
    name = stage_name(stage)
    if stage.is_data_source:
        return _decide_source(stage, contents)
    reasons = [*_command_reasons(stage), *_input_reasons(stage, contents)]
    if not any(item.hash_info for item in (*stage.deps, *stage.outs)):
        reasons = ["never run here"]
    waits_for = _unknown_inputs(stage, upstream, contents, actions)
    if waits_for:
        return StagePlan(name, "run", tuple(reasons + [f"upstream {other} runs" for other in waits_for]))
    if stage.always_changed:
        return StagePlan(name, "run", (*reasons, "marked always_changed in dvc.yaml"))
    inputs_changed = bool(reasons)
    reasons += [] if inputs_changed else _output_reasons(stage)
    if not reasons:
        return StagePlan(name, "keep", ())
    if contents.restore(stage, use_recorded=not inputs_changed):
        return StagePlan(name, "restore", tuple(reasons))
    return StagePlan(name, "run", tuple(reasons))


def _decide_source(stage: "Stage", contents: Contents) -> StagePlan:
    """A data source (`dvc add`): new content is recorded, lost content fetched from the cache.

    Raises GraphError when it is in neither place.
    """
    name, out = stage_name(stage), stage.outs[0]
    if not out.exists:
        if contents.restore_source(out):
            return StagePlan(name, "restore", (f"{path_of(out)} is not in the workspace",))
        raise GraphError(
            f"{path_of(out)}: neither in the workspace nor in DVC's cache; "
            f"fetch it from where it was pushed to (dvc pull {name}), or add the data again"
        )
    status = out.status().get(str(out))
    if status is None:
        return StagePlan(name, "keep", ())
    return StagePlan(name, "run", (f"{path_of(out)}: {', '.join(counted_changes(out, contents)) or status}",))


def _command_reasons(stage: "Stage") -> list[str]:
    if not stage.changed_stage():
        return []
    path = Path(stage.path).with_suffix(".lock")
    lock = parsed_yaml(path.read_bytes(), str(path))
    return [f"command: {lock['stages'][stage.name]['cmd']} -> {stage.cmd}"]


def _input_reasons(stage: "Stage", contents: Contents) -> list[str]:
    from dvc.dependency.param import ParamsDependency

    reasons: list[str] = []
    if stage.frozen:  # `dvc freeze`: DVC does not look at its inputs
        return reasons
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            reasons += _parameter_reasons(dep)
        elif contents.is_known(dep):
            reasons += _file_reasons(dep, contents)
    return reasons


def _known_inputs(stage: "Stage", contents: Contents) -> dict[str, str | None]:
    from dvc.dependency.param import ParamsDependency

    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    return {path_of(dep): contents.hash_of(dep) for dep in files if contents.is_known(dep)}


def _parameter_reasons(dep: "ParamsDependency") -> Iterator[str]:
    old, new = dep.hash_info.value or {}, dep.read_params()
    for key in dep.params or sorted({*old, *new}):
        for path, before, after in _differences(key, old.get(key, _ABSENT), new.get(key, _ABSENT)):
            yield f"{path_of(dep)} {path}: {before} -> {after}"


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    """The leaves at which two parameter values differ: (path, old, new)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(f"{path}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif old != new:
        yield path, _shown(old), _shown(new)


def _file_reasons(dep: "Dependency", contents: Contents) -> Iterator[str]:
    old, new = dep.hash_info.value, contents.hash_of(dep)
    if new is None:
        yield f"{path_of(dep)}: missing"
    elif old is None:
        yield f"{path_of(dep)}: a new input"
    elif old != new:
        yield f"{path_of(dep)}: {old[:8]} -> {new[:8]}"


def _output_reasons(stage: "Stage") -> list[str]:
    states = {"deleted": "is not in the workspace", "modified": "was changed by hand", "new": "was not recorded"}
    found = [(out, out.status().get(str(out))) for out in stage.outs]
    return [f"{path_of(out)} {states.get(status, 'is ' + status)}" for out, status in found if status]


def _unknown_inputs(
    stage: "Stage", upstream: list["Stage"], contents: Contents, actions: Mapping[str, Action]
) -> list[str]:
    """The upstream stages that run first, when this stage's inputs depend on what they will make."""
    if stage.frozen or all(contents.is_known(dep) for dep in stage.deps):
        return []
    return [stage_name(other) for other in upstream if actions.get(stage_name(other)) == "run"]


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _shown(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
