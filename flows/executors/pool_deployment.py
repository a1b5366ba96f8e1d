"""A work pool at the server, and the deployment whose runs are the jobs that it gets."""

import shlex
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.executors.pool_report import FLOW
from genai_core.config import ConfigError

# A worker imports them from its own installation; no code is sent. Prefect wants a flow, too: where a pool has a
# command of its own, that is run.
PROCESS = "flows.services.job_run"
ENTRYPOINT = "flows.services.job_flow.execute_job"
STARTING_S = 120.0  # from a worker's taking a job to its first word; a container may have to fetch its image first
STARTING_ELSEWHERE_S = 900.0

# The worker may run in an environment that is not on its PATH, as `.venv/bin/prefect` does. Its own interpreter is the
# first word of its command line. In a container, where the worker is not our parent, `python` is the image's.
_FIND = 'p=`2>/dev/null tr "\\0" "\\n" </proc/$PPID/cmdline | head -n 1`'
_OR = 'case "${p##*/}" in python*) ;; *) p=python ;; esac'
_WHERE = 'case "$p" in /*) ;; */*) p=`readlink "/proc/$PPID/cwd"`/$p ;; esac'  # the job runs in another folder
COMMAND = shlex.join(["sh", "-c", f'{_FIND}; {_OR}; {_WHERE}; exec "$p" -m {PROCESS}'])

_PARAMETERS = {
    "type": "object",
    "title": "Parameters",
    "properties": {
        "order": {"type": "string", "title": "order", "description": "The job, as JSON.", "position": 0},
    },
    "required": ["order"],
}


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
        flow_id=client.create_flow_from_name(FLOW),
        name=pool,
        description="One job of a run with `compute.executor: pool`. `genai run` creates its runs.",
        work_pool_name=pool,
        entrypoint=ENTRYPOINT,
        path=".",
        tags=["genai"],
        parameter_openapi_schema=_PARAMETERS,
        enforce_parameter_schema=False,
        job_variables={"command": COMMAND},
    )
