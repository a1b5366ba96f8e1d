"""Coalesce events: a run that starts takes over the runs that automations have queued."""

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

# Parameters that say why a run was started, not what it does. `asked` is taken over too: it forces a retraining.
_WHY = frozenset({"reason", "old_version", "new_version", "asked"})


@dataclass(frozen=True)
class Absorbed:
    """What the cancelled runs were for. asked: one of them was to retrain however small the change is."""

    names: tuple[str, ...] = ()
    asked: bool = False
    reasons: tuple[str, ...] = ()


def absorb_queued() -> Absorbed:
    """Cancel the queued runs of this deployment that an event started; return what they were for.

    Call it before looking up the newest data: those events' data are then included, and later events start runs of
    their own. Keeps runs that a schedule or a person started, and runs with other parameters (plan only, another
    action). Does nothing outside a deployment.
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
                message = f"coalesced with {own.name}, which uses the newest data"
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
    """The parameters that say what a run does, with the flow's defaults."""
    return {name: value for name, value in {**defaults, **run.parameters}.items() if name not in _WHY}
