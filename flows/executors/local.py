"""The executor of one machine: a supervised process in a place, with its share of the machine. Needs no server."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from flows.executors.executor import CommandFailed, Listener
from flows.graph import StageNode
from flows.process import Processes, Stopped, TimedOut
from flows.progress_file import followed
from flows.resources import Resources
from flows.runs.job import Job, LockEntry, Result
from flows.runs.place import Place, command_line, stage_variables
from genai_core.config import NEEDS_MANUAL_ACTION

PROGRESS_POLL_S = 0.5


class LocalExecutor:
    """Runs each job as a process of this machine. variables: for every command, besides the environment."""

    def __init__(
        self, place: Place, processes: Processes, resources: Resources, variables: Mapping[str, str] | None = None
    ) -> None:
        self._place, self._processes, self._resources = place, processes, resources
        self._variables = dict(variables or {})

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:
        """See Executor.execute."""
        with self._resources.lease(
            stage.needs,
            cancelled=lambda: self._processes.stopping,
            waits_for=lambda missing: listener.waits(f"for {missing}"),
        ) as lease:
            if lease is None:
                raise Stopped("the run was stopped before this stage began")
            began = time.monotonic()
            listener.started(lease.gpus)
            entry = self._run_command(stage, job, lease.environment(), listener, held)
            return Result(job, entry, ran=True, seconds=time.monotonic() - began)

    def _run_command(
        self, stage: StageNode, job: Job, leased: dict[str, str], listener: Listener, held: int | None
    ) -> LockEntry:
        """Run the stage's command in the place, and record its result."""
        place = self._place
        place.clear_outputs(job)
        progress = place.folder / ".genai" / "progress" / f"{job.stage}.json"
        progress.unlink(missing_ok=True)
        with followed(progress, listener.progress, PROGRESS_POLL_S):
            try:
                status = self._processes.run(
                    command_line(str(stage.command)),
                    folder=place.working_folder(job.stage),
                    environment=stage_environment({**stage_variables(place, job), **self._variables, **leased}),
                    timeout_s=stage.needs.timeout_s,
                    on_line=listener.line,
                    keep_open=[] if held is None else [held],
                )
            except TimedOut as error:
                raise CommandFailed(str(error)) from None
        if status != 0:
            raise CommandFailed(f"status {status}", retryable=status != NEEDS_MANUAL_ACTION)
        return place.record(job)


def stage_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The variables of a stage's command: this process's, and `own`."""
    # Stages say `python`: that must be the interpreter of this installation, wherever the command was called from.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", **own}
