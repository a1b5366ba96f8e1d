"""The flow of a pool's jobs. A worker starts job_run.py instead, unless its pool has a command of its own."""

from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run

from flows.executors.pool_report import FLOW
from flows.process import Processes, Stopped
from flows.services.api import api_at
from flows.services.job_run import end_of, job_of
from flows.services.settings import configured_api_url


@flow(name=FLOW, persist_result=False)
def execute_job(order: str) -> State[None]:
    """Execute one job of a run on this machine.

    Args:
        order: The job, as JSON (flows/executors/order.py).
    """
    run = {"id": flow_run.id, "name": flow_run.name, "parameters": {"order": order}}
    try:
        end = end_of(job_of(api_at(str(configured_api_url())), run, None, Processes()))
    except Stopped:
        return State(type=StateType.CANCELLED, message="stopped on request")
    return State(type=StateType(end.type), message=end.message)
