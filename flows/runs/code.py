"""The code of a snapshot, for tasks that are no stages: what draws from production and measures it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.process import start_keeper
from flows.runs.checkout import open_detached, remove_worktree
from flows.runs.record import CHECKOUT, new_id, run_folder
from flows.runs.snapshot import forget_snapshot, keep_snapshot, take_snapshot
from flows.runs.started import KEEPER, sweep
from flows.workspace import changing


@dataclass(frozen=True)
class Code:
    """A checkout in which nobody edits, and its commit."""

    folder: Path
    commit: str


@contextmanager
def snapshot_of_code(workspace: Path) -> Iterator[Code]:
    """A checkout of what the workspace holds now, for the body: later edits have no part in it. Raises GitError."""
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
