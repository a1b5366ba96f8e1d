"""What the server says of a run's jobs: states, reports and lines, with a few requests a second for all of them."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import ArtifactSort, LogSort

from flows.executors.pool_report import ARTIFACT, LOGGER

# After its answers, the server is left alone for POLL_PAUSE times as long: with few jobs, it is asked often.
POLL_S, MAX_POLL_S = 0.3, 5.0
POLL_PAUSE = 4.0
SLOW_S = 5.0
MAX_LINES = 200  # the server's limit for one answer
MAX_RUNS = MAX_LINES // 2  # in one question: a run may have more than one report
_ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


@dataclass
class Seen:
    """What is known of one job's flow run. silent_s: for how long the server has answered, but nothing has changed."""

    state: StateType = StateType.SCHEDULED
    message: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    silent_s: float = 0.0
    entries: int = 0  # of its log
    lines: int = 0  # of these, the command's
    is_deleted: bool = False  # at the server, by somebody

    @property
    def has_ended(self) -> bool:
        return self.is_deleted or self.state in _ENDS


class Watch:
    """Asks the server, in a thread, about the jobs that are watched."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._seen: dict[UUID, Seen] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, daemon=True)
        self._thread.start()

    def add(self, run: UUID) -> Seen:
        """Watch a flow run; what is returned changes from now on."""
        with self._lock:
            return self._seen.setdefault(run, Seen())

    def remove(self, run: UUID) -> None:
        with self._lock:
            self._seen.pop(run, None)

    def close(self) -> None:
        self._over.set()
        self._thread.join(timeout=10.0)

    def new_lines(self, run: UUID, seen: Seen) -> list[str]:
        """The lines that the command has printed since the last call, as far as the server has them."""
        wanted = int(seen.report.get("lines", 0))
        found: list[str] = []
        while seen.lines < wanted:
            entries = self._client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])),
                limit=MAX_LINES,
                offset=seen.entries,
                sort=LogSort.TIMESTAMP_ASC,
            )
            if not entries:
                break
            new = [entry.message for entry in entries if entry.name.endswith(f".{LOGGER}")]
            seen.entries += len(entries)
            seen.lines += len(new)
            found += new
        return found

    def _keep_asking(self) -> None:
        asked: float | None = None
        pause_s = POLL_S
        while not self._over.wait(pause_s):
            now = time.monotonic()
            with self._lock:
                runs = dict(self._seen)
            try:
                for batch in _batches(runs, MAX_RUNS):
                    self._ask(batch, now - asked if asked is not None else 0.0)
                # Prefect's client repeats a request for a minute: the server was away meanwhile.
                asked = now if time.monotonic() - now < SLOW_S else None
            except Exception:  # the server is away: silence says nothing of the workers meanwhile
                asked = None
            pause_s = min(max(POLL_S, POLL_PAUSE * (time.monotonic() - now)), MAX_POLL_S)

    def _ask(self, runs: dict[UUID, Seen], passed_s: float) -> None:
        of_these = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
        # The reports last: with an end that is seen here comes the report that was sent before it.
        states = self._client.read_flow_runs(flow_run_filter=of_these, limit=MAX_LINES)
        reports = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=[ARTIFACT])),
            flow_run_filter=of_these,
            sort=ArtifactSort.CREATED_DESC,
            limit=MAX_LINES,
        )
        # A report is created again if the server's answer was lost. The process goes on with the newest.
        oldest_first = reversed(reports)
        found = {artifact.flow_run_id: artifact.data for artifact in oldest_first if isinstance(artifact.data, dict)}
        for answer in states:
            seen, report = runs[answer.id], found.get(answer.id, {})
            state = answer.state.type if answer.state else StateType.SCHEDULED
            seen.silent_s = seen.silent_s + passed_s if (state, report) == (seen.state, seen.report) else 0.0
            # The state last: who sees it reads the report, too.
            seen.report, seen.message = report, (answer.state.message if answer.state else None) or ""
            seen.state = state
        for run in runs.keys() - {answer.id for answer in states}:  # each was there before it was watched
            runs[run].is_deleted = True


def _batches(runs: dict[UUID, Seen], size: int) -> Iterable[dict[UUID, Seen]]:
    items = list(runs.items())
    for begin in range(0, len(items), size):
        yield dict(items[begin : begin + size])
