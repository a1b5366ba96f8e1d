"""What a run would do and why: DVC's own decisions, made before anything starts, with reasons.

DVC decides stage by stage while it runs, and gives few reasons. The plan walks the same graph, compares the same hashes
and reads the same run-cache. For a stage that will be restored, the outputs' hashes are known, so the stages below can
be decided too. Below a stage that will run, nothing is known until it has run.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flows.dvc_lock import LOCK_FILE, parsed_yaml
from flows.graph import Graph, GraphError, dvc_stages, open_repo, path_of, read_graph, stage_name
from flows.hashes import Contents
from flows.overwritten import counted_changes, overwritten_outputs

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo
    from dvc.stage import Stage

Action = Literal["run", "restore", "keep"]
Read = TypeVar("Read")

_WRITING_S = 0.5  # DVC takes milliseconds to rewrite dvc.lock


@dataclass(frozen=True)
class StagePlan:
    """The action for one stage. `reasons` is empty exactly if it is kept.

    inputs: path -> hash of the dependencies that are known before anything runs. outputs: path -> hash of what is there
    now. replaced: for people, the outputs whose only copy a run overwrites.
    """

    stage: str
    action: Action
    reasons: tuple[str, ...]
    inputs: Mapping[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    outputs: Mapping[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    replaced: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_source(self) -> bool:
        """Whether it is a data source, tracked by a *.dvc file."""
        return self.stage.endswith(".dvc")


@dataclass(frozen=True)
class Plan:
    """One entry per stage, in the graph's order."""

    stages: tuple[StagePlan, ...]

    def __getitem__(self, stage: str) -> StagePlan:
        return self._by_name[stage]

    @cached_property
    def _by_name(self) -> dict[str, StagePlan]:
        return {entry.stage: entry for entry in self.stages}

    @property
    def nothing_to_do(self) -> bool:
        return all(entry.action == "keep" for entry in self.stages)

    @property
    def replaced(self) -> tuple[str, ...]:
        """One line per output that a run replaces although its content is stored nowhere else."""
        advice = "a run replaces it. Move away what you want to keep"
        return tuple(f"{output}: {advice}" for entry in self.stages for output in entry.replaced)

    def count(self, action: Action) -> int:
        return sum(entry.action == action for entry in self.stages)


def plan_of(workspace: Path, stages: Iterable[str]) -> Plan:
    """Plan a run of the workspace. Changes nothing. Raises GraphError."""

    def plan() -> Plan:
        with open_repo(workspace) as repo:
            return make_plan(repo, read_graph(repo).up_to(stages))

    return read_twice(plan)


def read_twice(read: Callable[[], Read]) -> Read:
    """Return `read()`. If it cannot read dvc.lock, retry once: another run may be writing the file."""
    try:
        return read()
    except GraphError as error:
        if LOCK_FILE not in str(error):
            raise
        time.sleep(_WRITING_S)
        return read()


def make_plan(repo: "Repo", graph: Graph) -> Plan:
    """Decide every stage of `graph`, which must contain all their upstream stages. Changes nothing."""
    return _planned(repo, graph, Contents(repo))


def hashes_to_restore(repo: "Repo") -> frozenset[str]:
    """DVC's hashes of the outputs that a run would restore from DVC's cache, by dvc.lock or by the run-cache.

    Raises GraphError, also if tracked data is neither in the workspace nor in the cache.
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
            replaced = tuple(overwritten_outputs(stage, there, contents))
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
    """Decide a data source (`dvc add`): record new content, restore missing content from the cache.

    Raises GraphError if it is in neither place.
    """
    name, out = stage_name(stage), stage.outs[0]
    if not out.exists:
        if contents.restore_source(out):
            return StagePlan(name, "restore", (f"{path_of(out)} is not in the workspace",))
        raise GraphError(
            f"{path_of(out)}: neither in the workspace nor in DVC's cache; fetch it from the remote: genai data pull"
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
    if stage.frozen:  # `dvc freeze`: DVC ignores its inputs
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
    """The leaves in which two parameter values differ: (path, old, new)."""
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
    """The upstream stages that run first and whose outputs this stage reads."""
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
