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
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, FlowRunFilterTags
from prefect.client.schemas.objects import State, StateType, WorkerStatus
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling, Crashed, Pending

from flows.executors.attempts import NO_WORKER_S, Lost, until_done
from flows.executors.dispatch import Dispatch, check_portable, published_snapshot
from flows.executors.executor import Heard, JobFailed, Listener
from flows.executors.lease import Lease, held_lease
from flows.executors.nodes.companions import Companions, Other, Turns
from flows.executors.order import Order, Outcome, order_from, outcome_from
from flows.executors.pool_deployment import deploy, starting_patience_s
from flows.executors.pool_report import BEAT_S
from flows.executors.pool_watch import MAX_LINES, Seen, Watch
from flows.executors.pools import pool_for
from flows.graph import StageNode
from flows.process import Processes, Stopped
from flows.runs.job import Job, Result, key_of
from flows.runs.place import Place
from flows.runs.server_away import is_no_answer, reach
from flows.view import current_view
from genai_core.config import PARAMS_FILE, load_config

POLL_S = 0.2
LOST_S = 6 * BEAT_S  # without a word of a running job
SERVER_POLL_S = 2.0
AWAY_S = 600.0  # a server that restarts with its machine, or is too busy; a stage may have taken hours
LOG_POLL_S = 1.0
LAST_LINES_S = 5.0  # for the last lines of a log, which come after the end


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
        self._pools, self._deployments, self._patience_s = pools, deployments, patience_s
        self._flow_run = flow_run.id
        self._under_way = _jobs_under_way(client, run)
        self._watch, self._turns = Watch(client), Turns()

    def close(self) -> None:
        self._watch.close()
        for run, _ in self._under_way.values():  # no stage of this run waited for them
            self._cancel(run, StateType.RUNNING)
        self._dispatch.close()

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:  # noqa: ARG002
        """See Executor.execute. A lost worker is no failure of the stage: another one gets the job."""

        def attempt() -> tuple[Order, Outcome]:
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
            return self._followed(run, seen, order, listener)
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

    def _followed(self, run: UUID, seen: Seen, order: Order, listener: Heard) -> Outcome:
        pool, told = self._pools[order.job.stage], _Told(listener)
        while True:
            if self._processes.stopping:
                raise Stopped("stopped on request")
            listener.check()
            ended, report = seen.has_ended, seen.report
            told.report(report)
            if not told.has_begun:
                self._tell_of_no_worker(pool, order.node.count if order.node else 1, seen, told)
            if told.may_ask():
                with suppress(Exception):  # the server is away; the lines come later
                    told.lines(self._watch.new_lines(run, seen))
            if report.get("outcome"):
                self._last_lines(run, seen, told)
                return outcome_from(report["outcome"])
            if ended:
                self._check_lost(seen)
                raise Lost(seen.message or "its process died")
            if why := self._silence(pool, seen):
                self._give_up(run, why)
                raise Lost(why)
            time.sleep(POLL_S)

    def _check_lost(self, seen: Seen) -> None:
        """Raise JobFailed for an attempt that ended without an outcome, unless its worker was lost."""
        if seen.is_deleted:
            raise JobFailed("its run was deleted at the server", retryable=False)
        if seen.state == StateType.CANCELLED:
            raise JobFailed("its run was cancelled at the server", retryable=False)
        if seen.state != StateType.CRASHED:
            raise JobFailed(f"its worker could not run it: {seen.message}")

    def _silence(self, pool: str, seen: Seen) -> str | None:
        """Why a job counts as lost, although the server has no end of it."""
        if seen.state == StateType.RUNNING and seen.silent_s > LOST_S:
            return f"no word from its worker for {LOST_S:.0f} s"
        if seen.state == StateType.PENDING and seen.silent_s > self._patience_s[pool]:
            return f"taken by a worker, but not begun for {self._patience_s[pool]:.0f} s"
        return None

    def _tell_of_no_worker(self, pool: str, needed: int, seen: Seen, told: "_Told") -> None:
        if seen.state != StateType.SCHEDULED or seen.silent_s < NO_WORKER_S or told.waits_for_worker:
            return
        told.waits_for_worker = True
        with suppress(Exception):
            online = self._online(pool)
            if online >= needed:
                told.listener.waits(f"for a free worker of the work pool {pool}")
            else:
                there = f"only {online} of {needed}" if online else "none"
                told.listener.waits(
                    f"for a worker: {there} of the work pool {pool} is online. Start one: prefect worker start --pool "
                    f"{pool}"
                )

    def _online(self, pool: str) -> int:
        workers = self._client.read_workers_for_work_pool(pool)
        return sum(worker.status == WorkerStatus.ONLINE for worker in workers)

    def _last_lines(self, run: UUID, seen: Seen, told: "_Told") -> None:
        deadline = time.monotonic() + LAST_LINES_S
        while seen.lines < int(seen.report.get("lines", 0)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
            with suppress(Exception):
                told.lines(self._watch.new_lines(run, seen))

    def _give_up(self, run: UUID, why: str) -> None:
        """Mark the attempt as crashed. If its worker lives after all, it ends the job's processes when it sees that."""
        with suppress(Exception):
            self._client.set_flow_run_state(run, Crashed(message=why), force=True)

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


class _Told:
    """What the listener has been told of one attempt."""

    def __init__(self, listener: Heard) -> None:
        self.listener = listener
        self.has_begun = self.waits_for_worker = False
        self._waits: str | None = None
        self._progress: object = None
        self._asked = -LOG_POLL_S

    def may_ask(self) -> bool:
        """Whether it is time to look for new lines. A worker sends them every two seconds."""
        if time.monotonic() - self._asked < LOG_POLL_S:
            return False
        self._asked = time.monotonic()
        return True

    def report(self, report: Mapping[str, object]) -> None:
        waits, gpus, progress = report.get("waits"), report.get("gpus"), report.get("progress")
        if isinstance(waits, str) and waits != self._waits:
            self._waits = waits
            self.listener.waits(waits)
        if isinstance(meets := report.get("meets"), dict) and gpus is None:
            self.listener.meets(meets)
        if isinstance(gpus, list) and not self.has_begun:
            self.has_begun = True
            self.listener.started(tuple(gpus))
        if isinstance(progress, dict) and progress != self._progress:
            self._progress = progress
            self.listener.progress(progress)

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.listener.line(line)


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

    Raises ConfigError, GitError or ServerAway before any does.
    """
    compute = load_config(place.folder / PARAMS_FILE).compute
    check_portable(place.folder)
    pools = {stage.name: pool_for(stage.name, stage.needs, compute) for stage in stages if stage.command}
    with get_client(sync_client=True) as client:
        reach(client, current_view().note, lambda: processes.stopping)
        used = sorted(set(pools.values()))
        patience = {pool: starting_patience_s(client, pool) for pool in used}
        deployments = {pool: deploy(client, pool) for pool in used}
        with (
            held_lease(client, workspace, run, current_view().note, processes.stop) as lease,
            published_snapshot(workspace, run, snapshot) as address,
        ):
            dispatch = Dispatch(place, address, variables)
            executor = PoolExecutor(run, client, dispatch, lease, processes, pools, deployments, patience)
            try:
                yield executor
            finally:
                executor.close()


def cancel_left(client: SyncPrefectClient, run: str) -> None:
    """Cancel the jobs that a coordinator has left with the workers. The caller holds the run."""
    for job, _ in _jobs_under_way(client, run).values():
        with suppress(Exception):  # it has ended meanwhile
            client.set_flow_run_state(job, Cancelling())


def _jobs_under_way(client: SyncPrefectClient, run: str) -> dict[str, tuple[UUID, Order]]:
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


def _nothing() -> None:
    """What a stand-in would run; it never does."""
