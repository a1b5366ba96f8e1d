"""The flow that a worker of a work pool runs: one job. It reports through one artifact, and its log.

The artifact's data: host and home of the worker; beat (grows while the process lives); lines (how many the command has
printed; they are in the log); waits; meets (where a training's other machines come to); gpus (null before the command
begins); progress; outcome (text of an Outcome; null before the end).
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.logging.loggers import PrefectLogAdapter
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows.executors.order import Outcome, order_from
from flows.executors.remote_place import worker_home
from flows.executors.worked import outcome_of
from flows.process import Processes, Stopped

ARTIFACT = "genai-job"
FLOW_LOGGER = "prefect.flow_runs"
LOGGER = "stage"  # of the command's lines; the rest of the log is the worker's own
BEAT_S = 10.0
REPORT_S = 1.0
SERVER_AWAY_S = 120.0
# The run is over for whoever asked for it: cancelled, or given up because nothing was heard of it.
_OVER = (StateType.CANCELLING, StateType.CANCELLED, StateType.CRASHED, StateType.FAILED, StateType.COMPLETED)


@flow(name="genai-job", persist_result=False)
def execute_job(order: str) -> State[None]:
    """Execute one job of a run on this machine.

    Args:
        order: The job, as JSON (flows/executors/order.py).
    """
    processes = Processes()
    with get_client(sync_client=True) as client, Report(client, UUID(flow_run.id)).sent(processes) as report:
        try:
            job = order_from(order)
            outcome = outcome_of(job, report, processes)
        except Stopped:
            return Cancelled(message="stopped on request")
        except ValueError as error:
            outcome = Outcome("", 0, failure=str(error), retryable=False)
        report.end(outcome)
    if outcome.entry is None:
        return Failed(message=outcome.failure)
    return Completed(message=f"ran in {outcome.seconds:.1f} s" if outcome.ran else "restored from this machine's cache")


class Report:
    """The listener of the job: keeps the artifact up to date while the body of `sent` runs."""

    def __init__(self, client: SyncPrefectClient, run: UUID) -> None:
        self._client, self._run = client, run
        self._logger = cast("PrefectLogAdapter", get_run_logger()).getChild(LOGGER)
        self._data: dict[str, Any] = dict.fromkeys(("waits", "meets", "gpus", "progress", "outcome"))
        self._data |= {"beat": 0, "lines": 0, "host": socket.gethostname(), "home": str(worker_home())}
        self._sent: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # one report at a time: an older one must not arrive after the outcome
        self._over = threading.Event()
        created = client.create_artifact(ArtifactCreate(type=ARTIFACT, flow_run_id=run, data=self._data))
        self._artifact = created.id

    def waits(self, why: str) -> None:
        self._set(waits=why)

    def started(self, gpus: tuple[str, ...]) -> None:
        self._set(gpus=list(gpus))

    def meets(self, where: Mapping[str, Any]) -> None:
        self._set(meets=dict(where))

    def line(self, text: str) -> None:
        with self._lock:  # lines come from the command, and from the thread that sends checkpoints
            self._logger.info(text)
            self._data = {**self._data, "lines": self._data["lines"] + 1}

    def progress(self, state: dict[str, Any]) -> None:
        self._set(progress=state)

    @contextmanager
    def sent(self, processes: Processes) -> Iterator["Report"]:
        """Send what changed every second, and a beat every BEAT_S. End the job's processes if its run is over."""
        thread = threading.Thread(target=self._keep_sending, args=(processes,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(timeout=BEAT_S)

    def end(self, outcome: Outcome) -> None:
        """Send the outcome, and wait for a server that does not answer: without it, the job counts as failed."""
        self._over.set()
        for handler in logging.getLogger(FLOW_LOGGER).handlers:
            handler.flush()  # Prefect sends lines every two seconds, and the coordinator waits for the last ones
        self._set(outcome=outcome.text())
        deadline = time.monotonic() + SERVER_AWAY_S
        while True:
            try:
                self._send()
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(REPORT_S)

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._data = {**self._data, **values}

    def _keep_sending(self, processes: Processes) -> None:
        beaten = time.monotonic()
        while not self._over.wait(REPORT_S):
            with suppress(Exception):  # the server is away; the next beat tells
                if time.monotonic() - beaten >= BEAT_S:
                    beaten = time.monotonic()
                    self._set(beat=self._data["beat"] + 1)
                    if self._is_unwanted():
                        processes.stop()
                        return
                if self._data != self._sent:
                    self._send()

    def _is_unwanted(self) -> bool:
        """Whether the run is over for whoever asked for it, or was deleted."""
        try:
            state = self._client.read_flow_run(self._run).state
        except ObjectNotFound:
            return True
        return state is not None and state.type in _OVER

    def _send(self) -> None:
        with self._sending:
            data = self._data
            # Not update_artifact: it also emits an event with all of this.
            self._client.request("PATCH", "/artifacts/{id}", path_params={"id": self._artifact}, json={"data": data})
            self._sent = data
