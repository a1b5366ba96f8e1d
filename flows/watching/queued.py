"""Events that come together are made one: the run that begins takes over those that automations queued before it."""

from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled


def absorb_queued() -> tuple[str, ...]:
    """Cancel the runs of this deployment that wait and were started by an event; returns their names.

    To be called before a run looks which data is newest: what those were started for is then in it, and what arrives
    later has a run of its own. Runs of a schedule or a person are left alone. Outside a deployment: nothing.
    """
    own, deployed = flow_run.get_id(), deployment.get_id()
    if own is None or deployed is None:
        return ()
    absorbed = []
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployed)])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            ),
        )
        for run in waiting:
            if str(run.id) != own and _by_an_event(run):
                message = f"made one with {flow_run.get_name()}, which takes the newest data"
                client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
                absorbed.append(run.name)
    return tuple(absorbed)


def _by_an_event(run: FlowRun) -> bool:
    return run.created_by is not None and run.created_by.type == "AUTOMATION"
