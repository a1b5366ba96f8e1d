"""Plan and snapshot of a run, taken of the same contents."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from flows.graph import Graph, GraphError, StageNode, open_repo, read_graph
from flows.plan import Plan, StagePlan, make_plan
from flows.process import run_command
from flows.runs.inputs import check_inputs
from flows.runs.retired import remove_retired
from flows.runs.snapshot import Snapshot, take_snapshot
from flows.workspace import changing
from genai_core.config import ConfigError

_MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class RunPlan:
    """Plan and snapshot of a run. snapshot: None if there is nothing to do.

    sources: the plan's entries of data sources that were changed by hand, as planned before they were recorded.
    """

    graph: Graph
    plan: Plan
    snapshot: Snapshot | None
    sources: tuple[StagePlan, ...] = ()

    @property
    def shown(self) -> Plan:
        """The plan to show: recording a source is part of the run."""
        recorded = {entry.stage: entry for entry in self.sources}
        return Plan(tuple(recorded.get(entry.stage, entry) for entry in self.plan.stages))

    @property
    def may_run(self) -> tuple[StageNode, ...]:
        """The stages whose command may be executed: they are to run, or a stage above is not kept."""
        return tuple(
            stage
            for stage in self.graph.stages
            if stage.command and any(self.plan[name].action != "keep" for name in (stage.name, *stage.upstream))
        )


def plan_run(workspace: Path, stages: Iterable[str], say: Callable[[str], None]) -> RunPlan:
    """Plan a run of a user's workspace and take its snapshot. Raises GraphError, GitError or ConfigError.

    What retired stages left is removed, and data that was changed by hand is recorded first. If a user edits meanwhile,
    plan and snapshot are made again. say: receives a line about each output that is removed, at once: the run may be
    refused after all.
    """
    sources: tuple[StagePlan, ...] = ()
    with changing(workspace, "start a run"):
        before = take_snapshot(workspace)
        for _ in range(_MAX_ATTEMPTS):
            with open_repo(workspace) as repo:
                for left in remove_retired(repo):
                    say(left.line)
                graph = read_graph(repo).up_to(stages)
                plan = make_plan(repo, graph)
                changed = _changed_sources(plan)
                if not changed:
                    if plan.nothing_to_do:
                        return RunPlan(graph, plan, None, sources)
                    snapshot = take_snapshot(workspace)
                    if snapshot.tree == before.tree:
                        check_inputs(repo, graph, plan, snapshot)
                        return RunPlan(graph, plan, snapshot, sources)
            if changed:
                _record(workspace, changed)
                sources += changed
                snapshot = take_snapshot(workspace)
            before = snapshot
    raise ConfigError(
        f"{workspace}: files keep changing here, so no run can start; wait until nothing writes them, then run again"
    )


def plan_run_in_place(folder: Path, stages: Iterable[str]) -> RunPlan:
    """Plan a run of a checkout that no user edits. Raises GraphError, GitError or ConfigError."""
    with changing(folder, "start a run"):
        graph, plan = _planned(folder, stages)
        sources = _changed_sources(plan)
        if sources:
            _record(folder, sources)
            graph, plan = _planned(folder, stages)
        return RunPlan(graph, plan, None if plan.nothing_to_do else take_snapshot(folder), sources)


def plan_run_again(checkout: Path, stages: Iterable[str], snapshot: Snapshot) -> RunPlan:
    """Plan the rest of a resumed run in the checkout of its snapshot. Raises GraphError."""
    return RunPlan(*_planned(checkout, stages), snapshot)


def _planned(folder: Path, stages: Iterable[str]) -> tuple[Graph, Plan]:
    with open_repo(folder) as repo:
        graph = read_graph(repo).up_to(stages)
        return graph, make_plan(repo, graph)


def _changed_sources(plan: Plan) -> tuple[StagePlan, ...]:
    return tuple(entry for entry in plan.stages if entry.is_source and entry.action == "run")


def _record(workspace: Path, sources: Iterable[StagePlan]) -> None:
    for source in sources:
        said: list[str] = []
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", source.stage]
        if run_command(command, folder=workspace, environment={"DVC_NO_ANALYTICS": "1"}, on_line=said.append) != 0:
            raise GraphError("\n".join([f"{source.stage}: DVC could not record the data:", *said[-8:]]))
