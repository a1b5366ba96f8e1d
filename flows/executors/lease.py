"""The lease of a run: one coordinator at a time, whichever machine it is on.

It is a Prefect variable that its holder updates. Prefect's concurrency limits have leases too, but the server keeps
those in memory: after its restart, the slot of a dead holder would never be free again. Nor do they say who holds one.
Only times of the server are compared. A variable is deleted by its id, so only one coordinator can end a lease.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient

from flows.process import Stopped
from flows.runs.publication import is_forgotten, this_coordinator
from flows.runs.record import RUNS, RunError, is_held, read_run
from flows.runs.server_away import answered
from flows.whole_file import write_file

BEAT_S = 10.0
LEASE_S = 60.0  # without a word of the holder
POLL_S = 1.0
_NAME = "genai-run-"
_OWN = "lease"  # in the run's folder: the variable's id. The next process of the run here knows that its holder is dead


@dataclass(frozen=True)
class _Held:
    """A lease as the server has it. silent_s: since its holder's last word."""

    variable: str
    holder: str
    beat: int
    silent_s: float


class Lease:
    """A lease that this process holds and keeps. on_lost: called if another coordinator has ended it."""

    def __init__(
        self, client: SyncPrefectClient, run: str, variable: str, holder: str, on_lost: Callable[[], None]
    ) -> None:
        self._client, self._run, self._variable, self._holder = client, run, variable, holder
        self._on_lost = on_lost
        self._over = threading.Event()
        self.is_lost = False
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._over.set()
        self._thread.join(timeout=BEAT_S)
        if not self.is_lost:
            with suppress(Exception):  # the server is away: others wait until it is old
                _end(self._client, self._variable)

    def check(self) -> None:
        """Raise RunError if the lease was lost."""
        if not self.is_lost:
            return
        held = _read(self._client, self._run)
        if held is None:
            raise RunError(
                f"run {self._run}: the Prefect server no longer knows that this process holds it. Another one has "
                f"continued it meanwhile, or the server's data are lost. To continue: genai run --resume {self._run}"
            )
        raise RunError(
            f"run {self._run} was taken over by {held.holder}: the Prefect server had not heard of this process for "
            f"{LEASE_S:.0f} s. The run goes on there"
        )

    def _keep(self) -> None:
        beat = 0
        while not self._over.wait(BEAT_S):
            beat += 1
            try:
                self._client.request(
                    "PATCH",
                    "/variables/{id}",
                    path_params={"id": self._variable},
                    json={"value": {"holder": self._holder, "beat": beat}},
                )
            except Exception as error:
                # Anything else: the server is away, and the next beat tells. A beat that ended would lose the lease.
                if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.NOT_FOUND:
                    self.is_lost = True
                    self._on_lost()
                    return


@contextmanager
def held_lease(
    client: SyncPrefectClient,
    workspace: Path,
    run: str,
    say: Callable[[str], None],
    on_lost: Callable[[], None],
    is_over: Callable[[], bool],
) -> Iterator[Lease]:
    """Hold the lease of a run of the workspace, whose folder this process has locked.

    If its holder was killed, wait until that is certain. say: receives a line then. on_lost: called in another thread
    if the lease is lost. is_over: whether the run is to stop. Raises RunError if another coordinator holds it, or has
    taken it meanwhile; Stopped, ServerAway while it waits.
    """
    own, holder = workspace / RUNS / run / _OWN, this_coordinator(workspace)
    variable = answered(lambda: _acquired(client, workspace, run, holder, say, is_over), client, say, is_over)
    lease = Lease(client, run, variable, holder, on_lost)
    try:
        yield lease
    finally:
        lease.release()
        own.unlink(missing_ok=True)
    lease.check()


def _acquired(
    client: SyncPrefectClient,
    workspace: Path,
    run: str,
    holder: str,
    say: Callable[[str], None],
    is_over: Callable[[], bool],
) -> str:
    """The id of the variable that is our lease; leases that nobody holds any more have ended.

    Raises RunError, and Stopped while it waits.
    """
    own = workspace / RUNS / run / _OWN
    told = False
    beat: int | None = None
    while (variable := _created(client, run, holder)) is None:
        held = _read(client, run)
        if held is None:
            continue
        was_here = own.is_file() and own.read_text() == held.variable
        if was_here or held.silent_s > LEASE_S:
            _end(client, held.variable)
            continue
        if beat not in (None, held.beat):
            raise RunError(
                f"run {run} is active: {held.holder} holds it, and the Prefect server hears of it. To take it over, "
                "end that process first"
            )
        if not told:
            say(f"{held.holder} held run {run} {held.silent_s:.0f} s ago; checking whether it is alive")
            told = True
        beat = held.beat
        if is_over():
            raise Stopped("stopped on request")
        time.sleep(POLL_S)
    write_file(own, variable)
    _end_completed(client, workspace)
    _end_forgotten(client)
    return variable


def _end_completed(client: SyncPrefectClient, workspace: Path) -> None:
    """End the leases of this workspace's runs whose process was killed after the run was completed."""
    for own in (workspace / RUNS).glob(f"*/{_OWN}"):
        record = read_run(own.parent)
        if record is not None and record.state == "completed" and not is_held(own.parent):
            _end(client, own.read_text())
            own.unlink(missing_ok=True)


def _end_forgotten(client: SyncPrefectClient) -> None:
    """End the leases of coordinators that were killed, and whose runs nobody has resumed for a long time.

    A run that began long ago may have been resumed, or take that long: its coordinator is heard of.
    """
    answer = client.request("POST", "/variables/filter", json={"variables": {"name": {"like_": _NAME}}})
    for found in answer.json():
        if is_forgotten(found["name"].removeprefix(_NAME)) and _silent_s(found, answer) > LEASE_S:
            _end(client, found["id"])


def _name(run: str) -> str:
    return f"{_NAME}{run}"


def _created(client: SyncPrefectClient, run: str, holder: str) -> str | None:
    """The id of a new variable; None if there is one."""
    values = {"name": _name(run), "value": {"holder": holder, "beat": 0}, "tags": ["genai"]}
    try:
        return str(client.request("POST", "/variables/", json=values).json()["id"])
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
        return None


def _read(client: SyncPrefectClient, run: str) -> _Held | None:
    try:
        answer = client.request("GET", "/variables/name/{name}", path_params={"name": _name(run)})
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return None
    found: dict[str, Any] = answer.json()
    value = found["value"]
    return _Held(found["id"], str(value["holder"]), int(value["beat"]), _silent_s(found, answer))


def _silent_s(found: dict[str, Any], answer: httpx.Response) -> float:
    """How long ago a variable was written, by the clock of the server."""
    sent = answer.headers.get("Date")
    now = parsedate_to_datetime(sent) if sent else datetime.now(UTC)
    return max(0.0, (now - datetime.fromisoformat(found["updated"])).total_seconds())


def _end(client: SyncPrefectClient, variable: str) -> None:
    """Delete the variable, unless another coordinator has done so."""
    try:
        client.request("DELETE", "/variables/{id}", path_params={"id": variable})
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
