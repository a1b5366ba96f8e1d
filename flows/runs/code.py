"""The code of a snapshot, for tasks outside the DAG: those that sample production and measure the images."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.process import start_keeper
from flows.runs.active_run import KEEPER
from flows.runs.checkout import open_detached, remove_worktree
from flows.runs.leftovers import sweep
from flows.runs.record import CHECKOUT, new_id, run_folder
from flows.runs.snapshot import forget_snapshot, keep_snapshot, take_snapshot
from flows.workspace import changing


@dataclass(frozen=True)
class Code:
    """A checkout that no user edits, and its commit."""

    folder: Path
    commit: str


@contextmanager
def snapshot_of_code(workspace: Path) -> Iterator[Code]:
    """Open a checkout of the workspace's present contents: later edits do not affect it. Raises GitError."""
    sweep(workspace)
    with changing(workspace, "take a snapshot"):
        snapshot, name = take_snapshot(workspace), new_id()
    with run_folder(workspace, name) as (folder, _lock), ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        keep_snapshot(workspace, name, snapshot)
        stack.callback(forget_snapshot, workspace, name)
        keeper = start_keeper(KEEPER, str(workspace), str(folder))
        stack.callback(keeper.communicate, b"over")
        stack.callback(remove_worktree, workspace, folder / CHECKOUT)
        yield Code(open_detached(workspace, snapshot.commit, folder / CHECKOUT), snapshot.commit)
