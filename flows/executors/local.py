"""The executor of one machine: a supervised process in a place, with its share of the machine. Needs no server."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from flows.executors.executor import CommandFailed, Listener, failed_with
from flows.graph import StageNode
from flows.process import Processes, Stopped, TimedOut
from flows.progress_file import followed
from flows.resources import Lease, Resources
from flows.runs.job import Job, LockEntry, Result
from flows.runs.place import Place, command_line, stage_variables
from genai_core.config import ConfigError

PROGRESS_POLL_S = 0.5


# Waits for what a command has to wait for, and holds it; the variables by which the command finds it.
Together = Callable[[Listener], AbstractContextManager[Mapping[str, str]]]


class LocalExecutor:
    """Runs each job as a process of this machine. variables: for every command, besides the environment.

    together: of a job on several machines: waits for the others (nodes/meeting.py).
    """

    def __init__(
        self,
        place: Place,
        processes: Processes,
        resources: Resources,
        variables: Mapping[str, str] | None = None,
        together: Together = lambda _: nullcontext({}),
    ) -> None:
        self._place, self._processes, self._resources = place, processes, resources
        self._variables, self._together = dict(variables or {}), together

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:
        """See Executor.execute."""
        with leased(self._resources, stage, self._processes, listener) as lease, self._together(listener) as shared:
            began = time.monotonic()
            listener.started(lease.gpus)
            variables = {**self._variables, **lease.environment(), **shared}
            entry = self._made(stage, job, variables, listener, held)
            return Result(job, entry, ran=True, seconds=time.monotonic() - began)

    def _made(
        self, stage: StageNode, job: Job, variables: Mapping[str, str], listener: Listener, held: int | None
    ) -> LockEntry:
        """Run the stage's command in the place, and record its result."""
        place = self._place
        place.clear_outputs(job)
        progress = place.folder / ".genai" / "progress" / f"{job.stage}.json"
        progress.unlink(missing_ok=True)
        with followed(progress, listener.progress, PROGRESS_POLL_S):
            status = run_stage_command(place, stage, job, variables, self._processes, listener, held)
        if status != 0:
            raise failed_with(status)
        return place.record(job)


@contextmanager
def leased(resources: Resources, stage: StageNode, processes: Processes, listener: Listener) -> Iterator[Lease]:
    """Wait for what a stage needs, and hold it for the body. Raises Stopped."""
    with resources.lease(
        stage.needs,
        cancelled=lambda: processes.stopping,
        waits_for=lambda missing: listener.waits(f"for {missing}"),
    ) as lease:
        if lease is None:
            raise Stopped("the run was stopped before this stage began")
        yield lease


def run_stage_command(
    place: Place,
    stage: StageNode,
    job: Job,
    variables: Mapping[str, str],
    processes: Processes,
    listener: Listener,
    held: int | None,
) -> int:
    """Run a stage's command in a place, and return its status. Raises CommandFailed after its time limit, Stopped."""
    try:
        return processes.run(
            command_line(str(stage.command)),
            folder=place.working_folder(job.stage),
            environment=stage_environment({**stage_variables(place, job), **variables}),
            timeout_s=stage.needs.timeout_s,
            on_line=listener.line,
            keep_open=[] if held is None else [held],
        )
    except TimedOut as error:
        raise CommandFailed(str(error)) from None


def check_one_machine(stages: Iterable[StageNode]) -> None:
    """Raise ConfigError if one of the stages needs several machines."""
    for stage in stages:
        if stage.needs.nodes > 1:
            raise ConfigError(
                f"dvc.yaml: {stage.name} needs {stage.needs.nodes} machines (meta.nodes, from compute.num_nodes in "
                "params.yaml), and executor local has one. Set compute.num_nodes to 1; compute.devices is for several "
                "processes on this machine. Or use an executor that has several: docs/machines.md"
            )


def stage_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The variables of a stage's command: this process's, and `own`."""
    # Stages say `python`: that must be the interpreter of this installation, wherever the command was called from.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", **own}
