"""The one Prefect task that runs a versioned task: a stage of dvc.yaml, executed by the run's executor."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed

from flows import artifacts
from flows.executors.executor import CommandFailed, Executor, JobFailed
from flows.executors.local import stage_environment
from flows.graph import StageNode, one_line
from flows.plan import StagePlan
from flows.process import Processes, Stopped
from flows.runs.job import Result
from flows.runs.one_at_a_time import locked_job
from flows.runs.place import Place, PlaceError
from flows.runs.record import Recorder, log_file
from flows.view import Outcome, View

LAST_LINES = 25


class StageFailed(RuntimeError):
    """A stage failed. retryable: False if the fault needs manual action. is_command: whether its command failed."""

    def __init__(
        self, stage: str, why: str, last_lines: Sequence[str], *, retryable: bool = True, is_command: bool = True
    ) -> None:
        self.retryable = retryable
        self.not_executed = None if is_command else "; its last line: ".join([why, *last_lines[-1:]])
        said = "".join(f"\n  {line}" for line in last_lines)
        super().__init__(f"stage {stage} failed ({why}); its last lines:{said or ' none'}")


@dataclass
class Run:
    """What the stages of one flow run share.

    home: the requested checkout. checks_out_sources: whether to check out data there that it lacks.
    jobs: the workspace whose runs share jobs. place: where the run has its inputs and results; executor: who runs its
    stages. Both are None if nothing runs. accept: brings a stage's results into `home`.
    sources: data sources that this run has recorded.
    """

    id: str
    snapshot: str
    home: Path
    jobs: Path
    place: Place | None
    processes: Processes
    executor: Executor | None
    view: View
    recorder: Recorder | None
    accept: Callable[[Result], None]
    sources: frozenset[str] = frozenset()
    checks_out_sources: bool = True

    def waits(self, stage: str, why: str) -> None:
        get_run_logger().info("waits %s", why)
        self.view.waits(stage, why)
        if self.recorder:
            with log_file(self.recorder.folder, stage).open("a") as file:
                file.write(f"waits {why}\n")

    def started(self, stage: str) -> None:
        self.view.started(stage)
        if self.recorder:
            self.recorder.started(stage)

    def finished(self, stage: str, outcome: Outcome, seconds: float, not_executed: str | None = None) -> None:
        self.view.finished(stage, outcome, seconds)
        if self.recorder:
            self.recorder.finished(stage, outcome, seconds, not_executed)


def should_retry(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: not after a fault of the input, and not after a request to stop."""
    try:
        state.result()
    except StageFailed as failure:
        return failure.retryable
    except (Stopped, PlaceError):
        return False
    except Exception:
        return True
    return True


@task(cache_policy=NO_CACHE, persist_result=False, retry_delay_seconds=2, retry_condition_fn=should_retry)
def run_stage(stage: StageNode, plan: StagePlan, upstream_ran: bool, run: Run) -> State[None]:
    """Bring one stage up to date. Ends `Cached` if nothing had to run, `Completed` if its command ran.

    upstream_ran: whether an upstream stage was not kept, so that the inputs may have changed.
    Raises StageFailed or PlaceError. A stage that is stopped ends `Cancelled`.
    """
    if stage.name in run.sources:
        run.finished(stage.name, "ran", 0.0)
        return Completed(message="recorded the data")
    if plan.action == "keep" and not upstream_ran:
        run.finished(stage.name, "kept", 0.0)
        return Completed(name="Cached", message="up to date")
    began = time.monotonic()
    try:
        if stage.command is None:
            if plan.action == "restore" and run.checks_out_sources:
                return _check_out_source(stage, run)
            run.finished(stage.name, "kept", 0.0)  # data added since then belongs to the next run
            return Completed(name="Cached", message="the version in the snapshot")
        return _bring_up_to_date(stage, plan, run)
    except Stopped as stopped:
        run.finished(stage.name, "stopped", time.monotonic() - began)
        return Cancelled(message=str(stopped))
    except Exception as error:
        why = error.not_executed if isinstance(error, StageFailed) else one_line(error) or type(error).__name__
        run.finished(stage.name, "failed", time.monotonic() - began, why)
        raise


def _bring_up_to_date(stage: StageNode, plan: StagePlan, run: Run) -> State[None]:
    assert run.place is not None
    assert run.executor is not None
    began = time.monotonic()
    job = run.place.job(run.id, run.snapshot, stage.name, plan.inputs, attempt=task_run.run_count or 1)
    with locked_job(
        job,
        run.jobs,
        cancelled=lambda: run.processes.stopping,
        waits_for=lambda other: run.waits(stage.name, f"for run {other}, which is doing the same"),
    ) as held:
        entry = run.place.restore(job)
        if entry is not None:
            there = all((run.home / path).exists() for path in run.place.outputs(stage.name))
            run.accept(Result(job, entry, ran=False, seconds=time.monotonic() - began))
            outcome: Outcome = "restored" if plan.action == "restore" or not there else "kept"
            run.finished(stage.name, outcome, time.monotonic() - began)
            return Completed(
                name="Cached", message="restored from the cache" if outcome == "restored" else "up to date"
            )
        with _Reporter(stage, plan, run) as reporter:
            try:
                result = run.executor.execute(stage, job, reporter, held)
            except JobFailed as failure:
                raise StageFailed(
                    stage.name,
                    str(failure),
                    reporter.last_lines(),
                    retryable=failure.retryable,
                    is_command=isinstance(failure, CommandFailed),
                ) from None
        run.accept(result)
        run.finished(stage.name, "ran" if result.ran else "restored", result.seconds)
        if result.machine and run.recorder:
            run.recorder.stage(stage.name, machine=dict(result.machine))
        artifacts.publish_outputs(run.place.folder, stage.name)
        where = f" on {result.machine['host']}" if result.machine else ""
        if not result.ran:
            return Completed(name="Cached", message=f"restored from the cache{where}")
        return Completed(message=f"ran in {result.seconds:.1f} s{where}")


def _check_out_source(stage: StageNode, run: Run) -> State[None]:
    """Check out a data source that is in the cache but not in the workspace."""
    run.started(stage.name)
    began = time.monotonic()
    said: list[str] = []
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "checkout", "--quiet", stage.name]
    status = run.processes.run(
        command,
        folder=run.home,
        environment=stage_environment({}),
        timeout_s=stage.needs.timeout_s,
        on_line=said.append,
    )
    if status != 0:
        raise StageFailed(stage.name, f"status {status}", said[-LAST_LINES:], is_command=False)
    run.finished(stage.name, "restored", time.monotonic() - began)
    return Completed(name="Cached", message="restored from the cache")


class _Reporter:
    """The listener of a stage's job: tells Prefect, the view, and the run's record and log.

    Keeps the last lines for an error.
    """

    def __init__(self, stage: StageNode, plan: StagePlan, run: Run) -> None:
        self._stage, self._plan, self._run = stage.name, plan, run
        self._logger = get_run_logger()
        self._artifact = artifacts.ProgressArtifact(stage.name)
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        path = log_file(run.recorder.folder, stage.name) if run.recorder else None
        self._file = path.open("a", buffering=1, errors="replace") if path else None

    def __enter__(self) -> "_Reporter":
        return self

    def __exit__(self, *_error: object) -> None:
        self._artifact.finish()
        if self._file:
            self._file.close()

    def waits(self, why: str) -> None:
        self._run.waits(self._stage, why)

    def started(self, gpus: tuple[str, ...]) -> None:
        for reason in self._plan.reasons:
            self._logger.info("because: %s", reason)
        if gpus:
            self._logger.info("on GPU %s", ", ".join(gpus))
        self._run.started(self._stage)

    def line(self, text: str) -> None:
        # A progress bar rewrites its line: a terminal shows what follows the last carriage return.
        line = text.rstrip().rpartition("\r")[2]
        if not line:
            return
        self._lines.append(line)
        self._logger.info(line)
        self._run.view.line(self._stage, line)
        if self._file:
            self._file.write(f"{line}\n")

    def progress(self, state: dict[str, Any]) -> None:
        self._run.view.progress(self._stage, state)
        self._artifact.show(state)

    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._lines)
