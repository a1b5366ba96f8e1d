"""The executor of a run that other machines have begun, and that goes on with this machine alone.

It holds the run as before, uses the results and checkpoints that are at the DVC remote, and cleans up there in the end.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from prefect import get_client

from flows.data.objects import RemoteError
from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.executor import Executor, Listener
from flows.executors.lease import held_lease
from flows.executors.pool_left import cancel_left
from flows.graph import StageNode
from flows.process import Processes
from flows.runs.job import Job, Result
from flows.runs.place import Place
from flows.view import current_view
from genai_core.counted import counted


class HomeExecutor:
    """See Executor. local: executes what no other machine has done."""

    def __init__(self, dispatch: Dispatch, local: Executor) -> None:
        self._dispatch, self._local = dispatch, local

    def execute(self, stage: StageNode, job: Job, listener: Listener, held: int | None = None) -> Result:
        """See Executor.execute."""
        known = self._dispatch.known(job, listener.line)
        if known is not None:
            return known
        if count := self._dispatch.fetch_checkpoints(job, listener.line):
            listener.line(f"goes on from a checkpoint of another machine ({counted(count, 'file')})")
        result = self._local.execute(stage, job, listener, held)
        with suppress(RemoteError):  # they are deleted when they are old
            self._dispatch.delete_checkpoints(job)
        return result


@contextmanager
def open_home_executor(
    local: Executor,
    place: Place,
    workspace: Path,
    run: str,
    snapshot: str,
    processes: Processes,
    variables: Mapping[str, str],
) -> Iterator[HomeExecutor]:
    """The executor of the rest of a run. Its jobs at workers of a pool are cancelled.

    Raises ConfigError, GitError, RunError, ServerAway or Stopped before any stage.
    """
    with ExitStack() as stack:
        client = stack.enter_context(get_client(sync_client=True))
        note, is_over = current_view().note, lambda: processes.stopping
        stack.enter_context(held_lease(client, workspace, run, note, processes.stop, is_over))
        if count := cancel_left(client, run):
            note(f"cancelled {counted(count, 'job')} that workers of a pool had")
        address = stack.enter_context(published_snapshot(workspace, run, snapshot, processes.stop))
        dispatch = stack.enter_context(closing(Dispatch(place, address, variables)))
        yield HomeExecutor(dispatch, local)
