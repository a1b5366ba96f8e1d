"""What the process of a pool's job reports while it works (flows/executors/pool_report.py), and that it lives."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from flows.executors.machine import worker_home
from flows.executors.order import Outcome
from flows.executors.pool_report import ARTIFACT, BEAT_S, FLOW_LOGGER, LOGGER, SERVER_AWAY_S
from flows.process import Processes
from flows.services.api import NOT_FOUND, UNAUTHORISED, Api, ApiError

Answer = TypeVar("Answer")

REPORT_S = 1.0
# A job sends its progress and lines as often at first, and later after a twentieth of the time that it has worked.
MAX_PROGRESS_S, PROGRESS_SHARE = 5.0, 0.05
MAX_LINES, MAX_CHARACTERS = 200, 20_000  # of a request, and of a line: the server takes at most 4 MB
# The run is over for whoever asked for it: cancelled, or given up because nothing was heard of it.
OVER = ("CANCELLING", "CANCELLED", "CRASHED", "FAILED", "COMPLETED")
INFO = 20  # the log level
_REFUSED = (413, 422)  # too large, or not valid

# Of Prefect: heartbeats of a run, by which automations at the server find dead ones, and the lease of its slot where
# the deployment has a concurrency limit.
_HEARTBEAT = "prefect.flow-run.heartbeat"
_HEARTBEAT_SETTINGS = ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "PREFECT_RUNNER_HEARTBEAT_FREQUENCY")
MIN_HEARTBEAT_S, HEARTBEAT_S = 30.0, 180.0  # the second one is Prefect's default
LEASE_S = 300.0


class Report:
    """The listener of the job: keeps the artifact and the log up to date while the body of `sent` runs.

    run: the flow run, as the server describes it. lease: of its concurrency slot, if it has one.
    """

    def __init__(self, api: Api, run: Mapping[str, Any], lease: str | None = None) -> None:
        self._api, self._run, self._lease = api, run, lease
        self._data: dict[str, Any] = dict.fromkeys(("waits", "meets", "gpus", "progress", "outcome"))
        self._data |= {"beat": 0, "lines": 0, "host": socket.gethostname(), "home": str(worker_home())}
        self._lines: list[dict[str, Any]] = []  # that the server does not have yet
        self._last_line = datetime.now(UTC)
        self._sent: dict[str, Any] = {}
        self._is_urgent = False
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # one report at a time: an older one must not arrive after the outcome
        self._over = threading.Event()
        self._artifact = api.post("artifacts/", type=ARTIFACT, flow_run_id=run["id"], data=self._data)["id"]

    def waits(self, why: str) -> None:
        self._tell(waits=why)

    def started(self, gpus: tuple[str, ...]) -> None:
        self._tell(gpus=list(gpus))

    def meets(self, where: Mapping[str, Any]) -> None:
        self._tell(meets=dict(where))

    def line(self, text: str) -> None:
        with self._lock:  # lines come from the command, and from the thread that sends checkpoints
            # The server sorts lines by their times, so each has another one.
            self._last_line = max(datetime.now(UTC), self._last_line + timedelta(microseconds=1))
            self._lines.append(
                {
                    "name": f"{FLOW_LOGGER}.{LOGGER}",
                    "level": INFO,
                    "message": text[:MAX_CHARACTERS],
                    "timestamp": self._last_line.isoformat(),
                    "flow_run_id": self._run["id"],
                }
            )

    def progress(self, state: dict[str, Any]) -> None:
        self._set(progress=state)

    @contextmanager
    def sent(self, processes: Processes) -> Iterator["Report"]:
        """Send what changed, and a beat every BEAT_S. End the job's processes if its run is over."""
        thread = threading.Thread(target=self._keep_sending, args=(processes,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(timeout=BEAT_S)

    def end(self, outcome: Outcome) -> None:
        """Send the outcome, and wait for a server that does not answer: without it, the job counts as failed.

        Raises ApiError.
        """
        self._over.set()
        self._set(outcome=outcome.text())
        patiently_asked(self._send)

    def _tell(self, **values: Any) -> None:
        """Set what somebody waits for, so that it is sent with the next report."""
        self._set(**values)
        self._is_urgent = True

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._data = {**self._data, **values}

    def _keep_sending(self, processes: Processes) -> None:
        heartbeat_s = _heartbeat_s()
        began = beaten = renewed = sent = time.monotonic()
        signed = -heartbeat_s  # the first one at once
        while not self._over.wait(REPORT_S):
            now = time.monotonic()
            with suppress(ApiError):  # the server is away; the next time tells
                if now - signed >= heartbeat_s:
                    signed = now
                    self._api.post_all("events", [self._heartbeat()])
            with suppress(ApiError):
                if self._lease and now - renewed >= LEASE_S / 3:
                    self._api.post(f"v2/concurrency_limits/leases/{self._lease}/renew", lease_duration=LEASE_S)
                    renewed = now
            with suppress(ApiError):
                if now - beaten >= BEAT_S:
                    beaten = now
                    self._set(beat=self._data["beat"] + 1)
                    if self._is_unwanted():
                        processes.stop()
                        return
                if self._is_urgent or now - sent >= progress_pause_s(now - began):
                    self._is_urgent = False
                    self._send()
                    sent = now

    def _is_unwanted(self) -> bool:
        """Whether the run is over for whoever asked for it, or was deleted. Raises ApiError."""
        return (state_of(self._api, self._run["id"]) or OVER[0]) in OVER

    def _send(self) -> None:
        """Send what the server does not have: the lines first, so that they are there when the report counts them."""
        with self._sending:
            with self._lock:
                lines = tuple(self._lines)
            for begin in range(0, len(lines), MAX_LINES):
                self._send_lines(lines[begin : begin + MAX_LINES])
            data = self._data
            if data != self._sent:
                self._api.patch(f"artifacts/{self._artifact}", data=data)
                self._sent = data

    def _send_lines(self, lines: Sequence[dict[str, Any]]) -> None:
        there = len(lines)
        try:
            self._api.post_all("logs/", lines)
        except ApiError as error:
            if error.status not in _REFUSED:
                raise
            there = 0  # a line that the server does not take must not hold up the outcome
        with self._lock:
            del self._lines[: len(lines)]
            self._data = {**self._data, "lines": self._data["lines"] + there}

    def _heartbeat(self) -> dict[str, Any]:
        related = [
            {"prefect.resource.id": f"prefect.{kind}.{self._run[key]}", "prefect.resource.role": kind}
            for kind, key in (("flow", "flow_id"), ("deployment", "deployment_id"))
            if self._run.get(key)
        ]
        resource = {"prefect.resource.id": f"prefect.flow-run.{self._run['id']}"}
        return {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": _HEARTBEAT,
            "resource": {**resource, "prefect.resource.name": self._run.get("name") or ""},
            "related": related,
            "payload": {},
        }


def progress_pause_s(passed_s: float) -> float:
    """Return the seconds between two reports of progress and lines, for a job that has worked for passed_s."""
    return min(max(REPORT_S, PROGRESS_SHARE * passed_s), MAX_PROGRESS_S)


def state_of(api: Api, run: str) -> str | None:
    """The type of a flow run's state at the server; None if the run was deleted. Raises ApiError."""
    try:
        state: Mapping[str, str] | None = api.get(f"flow_runs/{run}")["state"]
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None
        raise
    return state["type"] if state else None  # a run that is being deleted has none


def patiently_asked(ask: Callable[[], Answer]) -> Answer:
    """Return `ask()`. While the server is away, ask again, for SERVER_AWAY_S. Raises ApiError."""
    deadline = time.monotonic() + SERVER_AWAY_S
    while True:
        try:
            return ask()
        except ApiError as error:
            if error.status in (UNAUTHORISED, NOT_FOUND) or time.monotonic() > deadline:
                raise
            time.sleep(REPORT_S)


def _heartbeat_s() -> float:
    """How often a run sends a heartbeat, by Prefect's setting."""
    found = next((value for name in _HEARTBEAT_SETTINGS if (value := os.environ.get(name))), "")
    return max(float(found), MIN_HEARTBEAT_S) if found.isdecimal() else HEARTBEAT_S
