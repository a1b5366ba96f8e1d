"""The lease of a run: one coordinator at a time, on a real Prefect server."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.executors import lease as module
from flows.executors.lease import Lease, held_lease
from flows.process import Stopped
from flows.runs.record import RUNS, RunError
from flows.whole_file import write_json
from tests.flows.conftest import Server, wait_for
from tests.flows.runs.test_record import RECORD

BEAT_S, LEASE_S = 0.3, 2.0


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(module, "BEAT_S", BEAT_S)
    monkeypatch.setattr(module, "LEASE_S", LEASE_S)
    monkeypatch.setattr(module, "POLL_S", 0.1)
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def run(tmp_path: Path) -> str:
    """An id that no other test has at the shared server, of a run that is not old."""
    return f"29991123-101010-{abs(hash(tmp_path)) % 16**8:x}"


def never() -> None:
    pytest.fail("the lease was lost")


def on() -> bool:
    """The run is not to stop."""
    return False


def names(client: SyncPrefectClient) -> list[str]:
    return [variable.name for variable in client.read_variables()]


def killed(lease: Lease) -> None:
    """End a coordinator without a word."""
    lease._over.set()
    lease._thread.join()
    lease.is_lost = True  # so that nothing is told to the server afterwards


def test_one_holds_it_and_the_other_hears_who(client: SyncPrefectClient, tmp_path: Path, run: str) -> None:
    alpha, beta = tmp_path / "alpha", tmp_path / "beta"
    with held_lease(client, alpha, run, print, never, on):
        with (
            pytest.raises(RunError, match=f"run {run} is active: process .* in {alpha} on .* holds it"),
            held_lease(client, beta, run, print, never, on),
        ):
            pass
        with held_lease(client, beta, f"{run}-2", print, never, on):  # another run is free
            pass
    with held_lease(client, beta, run, print, never, on):
        assert f"genai-run-{run}" in names(client)
    assert not [name for name in names(client) if run in name]


def test_the_lease_of_a_dead_coordinator_ends(client: SyncPrefectClient, tmp_path: Path, run: str) -> None:
    alpha, beta, said = tmp_path / "alpha", tmp_path / "beta", list[str]()
    dead = held_lease(client, alpha, run, print, never, on)
    killed(dead.__enter__())
    began = time.monotonic()
    with held_lease(client, beta, run, said.append, never, on):
        assert time.monotonic() - began > LEASE_S - 1.5  # the server's date has whole seconds
    assert len(said) == 1
    assert f"in {alpha} on" in said[0]
    with pytest.raises(RunError, match=f"run {run}: the Prefect server no longer knows that this process holds it"):
        dead.__exit__(None, None, None)


def test_a_stop_is_heard_while_a_run_waits_for_its_lease(client: SyncPrefectClient, tmp_path: Path, run: str) -> None:
    said = list[str]()
    with (
        held_lease(client, tmp_path / "alpha", run, print, never, on),
        pytest.raises(Stopped),
        held_lease(client, tmp_path / "beta", run, said.append, never, lambda: bool(said)),
    ):
        pass


def test_the_next_process_in_the_same_workspace_need_not_wait(
    client: SyncPrefectClient, tmp_path: Path, run: str
) -> None:
    """It has locked the run's folder, so the holder is dead."""
    dead, said = held_lease(client, tmp_path, run, print, never, on), list[str]()
    killed(dead.__enter__())
    with held_lease(client, tmp_path, run, said.append, never, on):
        assert said == []


def test_old_leases_do_not_stay_for_ever(
    client: SyncPrefectClient, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._created(client, "20200101-101010-ab12", "process 1")
    with held_lease(client, tmp_path, run, print, never, on):  # its coordinator may live: the run was resumed
        assert "genai-run-20200101-101010-ab12" in names(client)
    monkeypatch.setattr(module, "LEASE_S", -1.0)  # as if a minute had passed
    with held_lease(client, tmp_path, run, print, never, on):
        assert "genai-run-20200101-101010-ab12" not in names(client)
        assert f"genai-run-{run}" in names(client)


def test_a_coordinator_that_was_given_up_hears_it(client: SyncPrefectClient, tmp_path: Path, run: str) -> None:
    told: list[bool] = []
    late, beta = (tmp_path / name for name in ("alpha", "beta"))
    holds = held_lease(client, late, run, print, lambda: told.append(True), on)
    lease = holds.__enter__()
    module._end(client, lease._variable)  # as beta does after a minute of silence
    with held_lease(client, beta, run, print, never, on):
        wait_for(lambda: told, 20 * BEAT_S)
        with pytest.raises(RunError, match=f"run {run} was taken over by process .* in {beta} on"):
            holds.__exit__(None, None, None)
        assert f"genai-run-{run}" in names(client)


def test_the_lease_of_a_run_that_was_killed_at_its_very_end_ends_with_the_next_run(
    client: SyncPrefectClient, tmp_path: Path, run: str
) -> None:
    dead = held_lease(client, tmp_path, run, print, never, on)
    killed(dead.__enter__())
    for state, stays in (("failed", True), ("completed", False)):
        record = replace(RECORD, id=run, state=state)  # type: ignore[arg-type]
        write_json(tmp_path / RUNS / run / "run.json", asdict(record))
        with held_lease(client, tmp_path, f"{run}-{state}", print, never, on):
            assert (f"genai-run-{run}" in names(client)) is stays
