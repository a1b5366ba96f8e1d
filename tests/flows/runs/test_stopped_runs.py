"""Runs that are stopped, cancelled or killed, with a real Prefect server: nothing is left, and the next run goes on."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.process import Processes, Stopped
from flows.runs.pipeline import pipeline
from flows.runs.prepared_run import PreparedRun
from flows.runs.record import STOP, read_runs
from tests.flows.conftest import DVC_WARNS, Server, diary, ended, genai, processes_in, shell, started_genai, wait_for
from tests.flows.runs.places import locked


def assert_nothing_left_running(workspace: Path) -> None:
    wait_for(lambda: not processes_in(workspace))


def assert_nothing_left(workspace: Path) -> None:
    """No process, no output of the interrupted stage, no lock."""
    assert_nothing_left_running(workspace)
    assert not (workspace / "out" / "train" / "gan").exists()


@pytest.mark.long
def test_interrupted_runs(fresh: Path, done: Path, server: Server) -> None:
    """Ctrl-C, SIGTERM, Prefect's cancel, kill -9, one after the other in one workspace; the next run always starts."""
    toy = {"train@gan": {"seconds": 60.0, "child": True}}

    def busy(times: int) -> bool:
        recorded = "train@diffusion" in (fresh / "dvc.lock").read_text() if (fresh / "dvc.lock").exists() else False
        return len(diary(fresh, "train@gan")) == times and recorded

    for times, (signal_name, status) in enumerate([("INT", 130), ("TERM", 143)], start=1):
        with started_genai(fresh, "run", api_url=server.url, toy=toy) as process:
            wait_for(lambda times=times: busy(times))
            shell(fresh, f"kill -{signal_name} {process.pid}")
            assert ended(process)[0] == status
            assert_nothing_left(fresh)

    with started_genai(fresh, "run", api_url=server.url, toy=toy) as process:
        wait_for(lambda: busy(3))
        flow_run = server.flow_runs(fresh)[-1]
        server.post(f"flow_runs/{flow_run['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        status, output = ended(process)
        assert status == 130, output
        assert "stopped on request" in output
        assert_nothing_left(fresh)

    toy["train@gan"]["saves"] = 3.0
    with started_genai(fresh, "run", api_url=server.url, toy=toy) as process:
        wait_for(lambda: busy(4))
        process.kill()
        # At once, while the killed run's stage may still be saving.
        answer = genai(fresh, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert_nothing_left_running(fresh)
    assert locked(fresh) == locked(done)
    assert len(diary(fresh, "train@diffusion")) == 1

    states = [run["state"]["type"] for run in server.flow_runs(fresh)]
    assert states[0] == "CANCELLED"
    assert states[1] in ("CANCELLED", "CRASHED")
    assert states[2] == "CANCELLED"
    assert states[4] == "COMPLETED"


@DVC_WARNS
def test_a_stop_is_heard_while_the_executor_opens(fresh: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for a server that is away."""

    @contextmanager
    def opening(prepared: PreparedRun, processes: Processes, _: str | None) -> Iterator[None]:
        assert prepared.active is not None
        (prepared.active.recorder.folder / STOP).touch()
        wait_for(lambda: processes.stopping, 10.0)
        raise Stopped("stopped on request")
        yield

    monkeypatch.setattr("flows.runs.pipeline._open_executor", opening)
    # Its thread does not have the settings of this test, and would start a server.
    monkeypatch.setattr("flows.cancelled.get_client", lambda **_: nullcontext())
    with temporary_settings({PREFECT_API_URL: server.url}):
        state = pipeline(str(fresh), return_state=True)
    assert (state.name, (state.message or "").partition(";")[0]) == ("Cancelled", "stopped on request")
    (record,) = read_runs(fresh)
    assert record.state == "stopped"
