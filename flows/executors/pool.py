"""The executor of Prefect work pools: each job is a run of one deployment, on whichever worker takes it.

Which worker, how many at once and in which order is Prefect's: work pools, queues and their limits.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling, Pending

from flows.executors.attempts import Lost, until_done
from flows.executors.dispatch import Dispatch, check_portable, published_snapshot
from flows.executors.executor import Heard, JobFailed, Listener
from flows.executors.lease import Lease, held_lease
from flows.executors.nodes.companions import Companions, Other, Turns
from flows.executors.order import Order, Outcome
from flows.executors.pool_deployment import deploy, starting_patience_s
from flows.executors.pool_follow import Follower
from flows.executors.pool_left import jobs_under_way
from flows.executors.pool_watch import Watch
from flows.executors.pools import pool_for
from flows.graph import StageNode
from flows.process import Processes, Stopped
from flows.runs.job import Job, Result, key_of
from flows.runs.place import Place
from flows.runs.server_away import answered, is_no_answer, reach
from flows.view import current_view
from genai_core.config import PARAMS_FILE, load_config

SERVER_POLL_S = 2.0
AWAY_S = 600.0  # a server that restarts with its machine, or is too busy; a stage may have taken hours


class PoolExecutor:
    """See Executor. run: its id. pools: of each stage that may run."""

    def __init__(
        self,
        run: str,
        client: SyncPrefectClient,
        dispatch: Dispatch,
        lease: Lease,
        processes: Processes,
        pools: Mapping[str, str],
        deployments: Mapping[str, UUID],
        patience_s: Mapping[str, float],
    ) -> None:
        self._client, self._dispatch, self._lease, self._processes = client, dispatch, lease, processes
        self._pools, self._deployments = pools, deployments
        self._flow_run = flow_run.id
        self._under_way = jobs_under_way(client, run)
        self._watch, self._turns = Watch(client), Turns()
        self._follower = Follower(client, self._watch, processes, patience_s)

    def close(self) -> None:
        self._watch.close()
        for run, _ in self._under_way.values():  # no stage of this run waited for them
            self._cancel(run, StateType.RUNNING)
        self._dispatch.close()

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:  # noqa: ARG002
        """See Executor.execute. A lost worker is no failure of the stage: another one gets the job."""

        def attempt(listener: Listener) -> tuple[Order, Outcome]:
            with Companions(listener, stage.needs.nodes, self._turns, self._processes, self._beside) as heard:
                left = self._under_way.pop(key_of(job), None)
                if left is not None:
                    self._dispatch.expect(left[1])
                run, order = left or self._ordered(stage, job, heard)
                heard.begin(order)
                return order, self._outcome(run, order, heard)

        return until_done(self._dispatch, job, listener, attempt)

    def _ordered(self, stage: StageNode, job: Job, listener: Heard) -> tuple[UUID, Order]:
        """A new attempt: its flow run and its order."""
        order = self._dispatch.order(stage, job, listener.line)
        return self._patiently(lambda: self._create(order), listener), order

    def _beside(self, order: Order, other: Other) -> Outcome:
        """Have an order for another machine of a training executed."""
        return self._outcome(self._patiently(lambda: self._create(order), other), order, other)

    def _outcome(self, run: UUID, order: Order, listener: Heard) -> Outcome:
        """The outcome of one attempt. Raises Lost, JobFailed, Stopped."""
        seen = self._watch.add(run)
        try:
            return self._follower.outcome(run, seen, self._pools[order.job.stage], order, listener)
        except (Lost, JobFailed):
            raise  # it has ended, or was given up
        except BaseException:  # stopped, or what we hear cannot be written: nobody waits for it any more
            self._cancel(run, seen.state)
            raise
        finally:
            self._watch.remove(run)

    def _create(self, order: Order) -> UUID:
        job, pool = order.job, self._pools[order.job.stage]
        which = f" machine {order.node.rank + 1} of {order.node.count}" if order.node else ""
        key = f"{job.stage}-{job.attempt}{which}"
        if order.node and order.node.rank > 0:  # if one of these is lost, it is ordered again in the same attempt
            key = f"{key} {secrets.token_hex(4)}"
        stand_in = self._task_on_the_page(f"{job.stage} on {pool}{which}", key)
        created = self._client.create_flow_run_from_deployment(
            self._deployments[pool],
            name=f"{job.run} {job.stage} {job.attempt}{which}",
            parameters={"order": order.text()},
            tags=["genai", job.run],
            parent_task_run_id=stand_in,
            # A request that was answered, but whose answer was lost, is repeated.
            idempotency_key=f"{self._flow_run}-{key}",
        )
        return created.id

    def _patiently(self, ask: Callable[[], UUID], listener: Heard) -> UUID:
        """Ask again while the server is away, for some minutes. Raises Stopped if the run is stopped meanwhile."""
        deadline = time.monotonic() + AWAY_S
        while True:
            if self._processes.stopping:
                raise Stopped("the run was stopped before this stage began")
            listener.check()
            try:
                return ask()
            except Exception as error:
                if not is_no_answer(error) or time.monotonic() > deadline:
                    raise
                time.sleep(SERVER_POLL_S)

    def _cancel(self, run: UUID, known: StateType) -> None:
        if self._lease.is_lost:  # the job belongs to the coordinator that has taken the run over
            return
        state: State[Any] = Cancelling() if known == StateType.RUNNING else Cancelled()
        with suppress(Exception):
            self._client.set_flow_run_state(run, state)

    def _task_on_the_page(self, name: str, key: str) -> UUID:
        """A task run of the pipeline's own flow run that stands for the job's: so the pages show it there."""
        stand_in = task(name=name)(_nothing)
        created = self._client.create_task_run(
            task=stand_in, flow_run_id=UUID(self._flow_run), dynamic_key=key, name=name, state=Pending()
        )
        return created.id


@contextmanager
def open_pool_executor(
    place: Place,
    workspace: Path,
    run: str,
    snapshot: str,
    stages: Iterable[StageNode],
    processes: Processes,
    variables: Mapping[str, str],
) -> Iterator[PoolExecutor]:
    """The executor of one run. stages: those that may run.

    Raises ConfigError, GitError, ServerAway or Stopped before any does.
    """
    compute = load_config(place.folder / PARAMS_FILE).compute
    check_portable(place.folder)
    pools = {stage.name: pool_for(stage.name, stage.needs, compute) for stage in stages}
    with get_client(sync_client=True) as client:
        say, is_over = current_view().note, lambda: processes.stopping
        reach(client, say, is_over)
        used = sorted(set(pools.values()))
        patience, deployments = answered(
            lambda: (
                {pool: starting_patience_s(client, pool) for pool in used},
                {pool: deploy(client, pool) for pool in used},
            ),
            client,
            say,
            is_over,
        )
        with (
            held_lease(client, workspace, run, say, processes.stop, is_over) as lease,
            published_snapshot(workspace, run, snapshot) as address,
        ):
            dispatch = Dispatch(place, address, variables)
            executor = answered(
                lambda: PoolExecutor(run, client, dispatch, lease, processes, pools, deployments, patience),
                client,
                say,
                is_over,
            )
            try:
                yield executor
            finally:
                executor.close()


def _nothing() -> None:
    """What a stand-in would run; it never does."""
