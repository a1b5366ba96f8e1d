"""A work pool at the server, and the deployment whose runs are the jobs that it gets."""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.executors.pool_job import execute_job
from genai_core.config import ConfigError

# A worker imports it from its own installation; no code is sent.
ENTRYPOINT = "flows.executors.pool_job.execute_job"
STARTING_S = 120.0  # from a worker's taking a job to its first word; a container may have to fetch its image first
STARTING_ELSEWHERE_S = 900.0


def starting_patience_s(client: SyncPrefectClient, pool: str) -> float:
    """How long a worker of the pool may take to begin a job. Raises ConfigError if there is no such pool."""
    try:
        kind = client.read_work_pool(pool).type
    except ObjectNotFound:
        raise ConfigError(
            f"params.yaml: compute.pools: the server has no work pool {pool!r}; the first worker makes it: prefect "
            f"worker start --pool {pool} --type process"
        ) from None
    return STARTING_S if kind == "process" else STARTING_ELSEWHERE_S


def deploy(client: SyncPrefectClient, pool: str) -> UUID:
    """Create or update the deployment whose runs are jobs of a pool."""
    return client.create_deployment(
        flow_id=client.create_flow(execute_job),
        name=pool,
        description="One job of a run with `compute.executor: pool`. `genai run` creates its runs.",
        work_pool_name=pool,
        entrypoint=ENTRYPOINT,
        path=".",
        tags=["genai"],
        parameter_openapi_schema=parameter_schema(execute_job).model_dump_for_openapi(),
        enforce_parameter_schema=False,
    )
