"""Follow one attempt of a pool's job at the server until it has an outcome or is lost, and tell its listener."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.states import Crashed

from flows.executors.attempts import NO_WORKER_S, NOT_STARTED, Lost
from flows.executors.executor import Heard, JobFailed
from flows.executors.order import Order, Outcome, outcome_from
from flows.executors.pool_report import BEAT_S
from flows.executors.pool_watch import Seen, Watch
from flows.process import Processes, Stopped

POLL_S = 0.2
LOST_S = 6 * BEAT_S  # without a word of a running job
LOG_POLL_S = 1.0
LAST_LINES_S = 5.0  # for the last lines of a log, which come after the end


class Follower:
    """Follows the attempts of a run. patience_s: by pool, for a job that a worker has taken but not begun."""

    def __init__(
        self, client: SyncPrefectClient, watch: Watch, processes: Processes, patience_s: Mapping[str, float]
    ) -> None:
        self._client, self._watch, self._processes, self._patience_s = client, watch, processes, patience_s

    def outcome(self, run: UUID, seen: Seen, pool: str, order: Order, listener: Heard) -> Outcome:
        """The outcome of a flow run that is watched. Raises Lost, JobFailed, Stopped."""
        told = _Told(listener)
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
                _check_lost(seen)
                raise Lost(_end_of(seen))
            if why := self._silence(pool, seen):
                self._give_up(run, why)
                raise Lost(why)
            time.sleep(POLL_S)

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


def _check_lost(seen: Seen) -> None:
    """Raise JobFailed for an attempt that ended without an outcome, unless its worker was lost."""
    if seen.is_deleted:
        raise JobFailed("its run was deleted at the server", retryable=False)
    if seen.state == StateType.CANCELLED:
        raise JobFailed("its run was cancelled at the server", retryable=False)
    if seen.state != StateType.CRASHED:
        raise JobFailed(f"its worker could not run it: {seen.message}")


def _end_of(seen: Seen) -> str:
    """How an attempt ended that has no outcome."""
    end = seen.message or "its process died"
    if seen.report or end.startswith(NOT_STARTED):
        return end
    return f"{end.removesuffix('.')}, before it reported anything: the log of its worker has what it printed"


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
