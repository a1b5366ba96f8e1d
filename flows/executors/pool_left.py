"""The jobs that a run has at the workers of its pools, found by its tag at the Prefect server."""

from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, FlowRunFilterTags
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from flows.executors.order import Order, order_from
from flows.executors.pool_watch import MAX_LINES
from flows.runs.job import key_of


def jobs_under_way(client: SyncPrefectClient, run: str) -> dict[str, tuple[UUID, Order]]:
    """The jobs that a dead coordinator of the run has left with the workers: flow run and order, by the job's key."""
    active = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    filters = FlowRunFilter(
        tags=FlowRunFilterTags(all_=["genai", run]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=active)),
    )
    found: dict[str, tuple[UUID, Order]] = {}
    asked = 0
    while answer := client.read_flow_runs(flow_run_filter=filters, limit=MAX_LINES, offset=asked):
        asked += len(answer)
        for flow_run_ in answer:
            with suppress(ValueError, KeyError):
                order = order_from(flow_run_.parameters["order"])
                if order.node is None or order.node.rank == 0:  # the others end with the first one
                    found[key_of(order.job)] = flow_run_.id, order
    return found


def cancel_left(client: SyncPrefectClient, run: str) -> int:
    """Cancel the jobs that a coordinator has left with the workers, and return their number.

    The caller holds the run.
    """
    left = jobs_under_way(client, run)
    for job, _ in left.values():
        with suppress(Exception):  # it has ended meanwhile
            client.set_flow_run_state(job, Cancelling())
    return len(left)
