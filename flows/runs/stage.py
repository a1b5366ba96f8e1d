"""The one Prefect task that runs a versioned task: a stage of dvc.yaml, by `dvc repro` in a supervised process."""

import json
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed

from flows import artifacts
from flows.graph import StageNode
from flows.plan import StagePlan
from flows.process import Processes, Stopped, TimedOut
from flows.resources import Resources
from flows.view import Outcome, View
from genai_core.config import NEEDS_A_PERSON

PROGRESS_POLL_S = 0.5
LAST_LINES = 25

# DVC's hints on what to type next, and the ends of its own progress bars: nothing that the stage said.
_DVC_CHATTER = re.compile(
    r"^(To track the changes with git, run:|To enable auto staging, run:|Use `dvc push`|\tgit add |"
    r"\tdvc config core.autostage|Updating lock file|Generating lock file|Running stage '|Stage '.*' is cached|"
    r"Stage '.*' didn't change|Stage '.*' is up to date|Verifying data sources|Data and pipelines are up to date|\s*$)"
)
_EXIT_STATUS = re.compile(r"failed to run: .*, exited with (\d+)")


class StageFailed(RuntimeError):
    """A stage's command failed. `retryable` is False when it says that a person has to mend something."""

    def __init__(self, stage: str, why: str, last_lines: Sequence[str], *, retryable: bool = True) -> None:
        self.retryable = retryable
        said = "".join(f"\n  {line}" for line in last_lines)
        super().__init__(f"stage {stage} failed ({why}); its last lines:{said or ' none'}")


@dataclass
class Run:
    """What the stages of one flow run share."""

    workspace: Path
    processes: Processes
    resources: Resources
    view: View


def worth_a_retry(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: not after a fault of the input, and not after a request to stop."""
    try:
        state.result()
    except StageFailed as failure:
        return failure.retryable
    except Stopped:
        return False
    except Exception:
        return True
    return True


@task(cache_policy=NO_CACHE, persist_result=False, retry_delay_seconds=2, retry_condition_fn=worth_a_retry)
def run_stage(stage: StageNode, plan: StagePlan, upstream_ran: bool, run: Run) -> State[None]:
    """Bring one stage up to date. Ends `Cached` when DVC had nothing to run, `Completed` when its command ran.

    upstream_ran: whether a stage above it was not simply kept, so that DVC has to look again.
    Raises StageFailed; a stage that was asked to stop ends `Cancelled`.
    """
    if plan.action == "keep" and not upstream_ran:
        run.view.finished(stage.name, "kept", 0.0)
        return Completed(name="Cached", message="up to date")
    logger = get_run_logger()
    with run.resources.lease(stage.needs, cancelled=lambda: run.processes.stopping) as lease:
        if lease is None:
            run.view.finished(stage.name, "stopped", 0.0)
            return Cancelled(message="the run was stopped before this stage began")
        for reason in plan.reasons:
            logger.info("because: %s", reason)
        if lease.gpus:
            logger.info("on GPU %s", ", ".join(lease.gpus))
        run.view.started(stage.name)
        began = time.monotonic()
        output = _Output(stage, plan, run.view, logger)
        try:
            with _followed_progress(stage.name, run):
                status = run.processes.run(
                    _command(stage, plan),
                    folder=run.workspace,
                    environment=_environment(lease.environment()),
                    timeout_s=stage.needs.timeout_s,
                    on_line=output.take,
                )
        except Stopped as stopped:
            run.view.finished(stage.name, "stopped", time.monotonic() - began)
            return Cancelled(message=str(stopped))
        except Exception as error:
            run.view.finished(stage.name, "failed", time.monotonic() - began)
            if isinstance(error, TimedOut):
                raise StageFailed(stage.name, str(error), output.last_lines()) from None
            raise
    seconds = time.monotonic() - began
    if status != 0:
        run.view.finished(stage.name, "failed", seconds)
        status = output.command_status or status
        needs_a_person = status == NEEDS_A_PERSON
        raise StageFailed(stage.name, f"status {status}", output.last_lines(), retryable=not needs_a_person)
    run.view.finished(stage.name, output.outcome, seconds)
    artifacts.publish_outputs(run.workspace, stage.name)
    if output.outcome == "ran":
        return Completed(message=f"ran in {seconds:.1f} s")
    message = "restored from the cache" if output.outcome == "restored" else "up to date"
    return Completed(name="Cached", message=message)


class _Output:
    """Reads what DVC and the stage's command print: passes the stage's own lines on, learns from DVC's."""

    def __init__(self, stage: StageNode, plan: StagePlan, view: View, logger: Any) -> None:
        self._stage, self._view, self._logger = stage, view, logger
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        # Of a data source that is checked out DVC says nothing.
        self.outcome: Outcome = "restored" if _is_checked_out(stage, plan) else "kept"
        self.command_status: int | None = None

    def take(self, raw: str) -> None:
        # A progress bar rewrites its line: what stands after the last carriage return is what a person would see.
        line = raw.rstrip().rpartition("\r")[2]
        if line.startswith(("Running stage '", "Verifying data sources")):
            self.outcome = "ran"
        elif "is cached - skipping run, checking out outputs" in line:
            self.outcome = "restored"
        if match := _EXIT_STATUS.search(line):
            self.command_status = int(match[1])
        if _DVC_CHATTER.match(line) or (line.startswith("> ") and line[2:] in (self._stage.command or "")):
            return
        self._lines.append(line)
        self._logger.info(line)
        self._view.line(self._stage.name, line)

    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._lines)


@contextmanager
def _followed_progress(stage: str, run: Run) -> Iterator[None]:
    """Read the stage's progress file while the body runs, for the view and for Prefect's progress artifact."""
    path = run.workspace / ".genai" / "progress" / f"{stage}.json"
    path.unlink(missing_ok=True)
    artifact = artifacts.ProgressArtifact(stage)
    done = threading.Event()

    def follow() -> None:
        ended = False
        while not ended:
            ended = done.wait(PROGRESS_POLL_S)  # once more after the end: a short stage tells all only then
            with suppress(FileNotFoundError, json.JSONDecodeError):
                state = json.loads(path.read_text())
                run.view.progress(stage, state)
                artifact.show(state)

    thread = artifacts.thread_in_this_context(follow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        artifact.finish()


def _command(stage: StageNode, plan: StagePlan) -> list[str]:
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock"]
    if _is_checked_out(stage, plan):
        return [*dvc, "checkout", "--quiet", stage.name]
    return [*dvc, "repro", "--single-item", stage.name]


def _is_checked_out(stage: StageNode, plan: StagePlan) -> bool:
    """A data source that is not there: `dvc repro` would only say so."""
    return stage.command is None and plan.action == "restore"


def _environment(lease: dict[str, str]) -> dict[str, str]:
    # Stages say `python`: that must be the interpreter of this installation, wherever the command was called from.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", **lease}
