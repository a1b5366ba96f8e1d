"""Events that come together are made one: the run that begins takes over those that automations queued before it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.states import Cancelled

# What a run is told beside what it is to do. `asked` can be taken over, too: who insists is not answered by less.
_WHY = frozenset({"reason", "old_version", "new_version", "asked"})


@dataclass(frozen=True)
class Absorbed:
    """What the cancelled runs were for. asked: one of them was to act however small the change is."""

    names: tuple[str, ...] = ()
    asked: bool = False
    reasons: tuple[str, ...] = ()


def absorb_queued() -> Absorbed:
    """Cancel the runs of this deployment that wait and were started by an event; returns what they were for.

    To be called before a run looks which data is newest: what those were started for is then in it, and what arrives
    later has a run of its own. Left alone: runs of a schedule or a person, and those that are to do something else
    (only plan, another action). Outside a deployment: nothing.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return Absorbed()
    own, deployed = context.flow_run, context.flow_run.deployment_id
    parameters = inspect.signature(context.flow.fn).parameters.values() if context.flow else ()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    absorbed: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployed])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            ),
        )
        for run in waiting:
            if run.id != own.id and _by_an_event(run) and _what(run, defaults) == _what(own, defaults):
                message = f"made one with {own.name}, which takes the newest data"
                client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
                absorbed.append(run)
    return Absorbed(
        names=tuple(run.name for run in absorbed),
        asked=any(run.parameters.get("asked") is True for run in absorbed),
        reasons=tuple(dict.fromkeys(str(run.parameters["reason"]) for run in absorbed if run.parameters.get("reason"))),
    )


def _by_an_event(run: FlowRun) -> bool:
    return run.created_by is not None and run.created_by.type == "AUTOMATION"


def _what(run: FlowRun, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is to do; a parameter that it was not given has the flow's default."""
    return {name: value for name, value in {**defaults, **run.parameters}.items() if name not in _WHY}
