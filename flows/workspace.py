"""Check and lock the workspace before a run, and repair files that an interrupted write left."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from flows.collecting import collector
from flows.dvc_lock import LOCK_FILE, SOURCE_FILES
from flows.file_lock import try_lock
from flows.git import files_at
from flows.graph import open_repo
from flows.process import DEFAULT_GRACE_S
from flows.view import current_view
from flows.whole_file import write_file
from genai_core.config import PARAMS_FILE, Config, ConfigError, load_config

RAW_DATA = Path("data/raw")

# The processes of a killed run may take this long to end.
LEFTOVERS_S = DEFAULT_GRACE_S + 5.0
# Adding much data may take this long.
CHANGING_S = 3600.0
NOTE_AFTER_S = 2.0  # of waiting: then print for which process
_CHECK_S = 0.5  # a check whether a run is active holds its lock for microseconds
_WRITING_S = 0.5  # DVC takes milliseconds to rewrite these files
_REWRITTEN = (LOCK_FILE, *SOURCE_FILES)


def checked_config(workspace: Path) -> Config:
    """The config of a workspace in which a run can start. Raises ConfigError if something is missing."""
    for name in ("dvc.yaml", ".dvc"):
        if not (workspace / name).exists():
            raise ConfigError(
                f"{workspace}: no {name} here; run genai in a checkout of the project, or pass one with --workspace"
            )
    config = load_config(workspace / PARAMS_FILE)
    _check_data(workspace)
    return config


@contextmanager
def only_run_in(workspace: Path, what: str = "run") -> Iterator[int]:
    """Lock a checkout for the body: two runs in it would use each other's unfinished outputs.

    what: "run", or "retraining", which works in another checkout but excludes others of its kind, too. Yields a file
    descriptor. Each process that inherits it holds the lock, so a killed run holds it until its last process has ended.
    Waits for that. Raises ConfigError if another run is running.
    """
    with _held(workspace / ".genai" / f"{what}.lock", LEFTOVERS_S, wait_for_owner=False) as held:
        if isinstance(held, str):
            raise ConfigError(
                f"{workspace}: another {what} is already running here (process {held}); wait until it ends, or stop it"
            )
        yield held


@contextmanager
def changing(workspace: Path, what: str, wait_s: float = CHANGING_S) -> Iterator[None]:
    """Lock the workspace's files for the body: no other process adds data, takes a snapshot or accepts results.

    Held only briefly, except by adding data. Waits; raises ConfigError after `wait_s`.
    """
    with _held(workspace / ".genai" / "change.lock", wait_s, wait_for_owner=True) as held:
        if isinstance(held, str):
            raise ConfigError(
                f"{workspace}: cannot {what} while process {held} changes files here; wait until it ends, or stop it"
            )
        yield


@contextmanager
def _held(path: Path, wait_s: float, *, wait_for_owner: bool) -> Iterator[int | str]:
    """Yield the descriptor of the locked file, or the id of the process that still holds it after `wait_s`.

    wait_for_owner: wait while the owner is alive, too; otherwise only for the descendants of a dead owner. In any case,
    wait for a garbage collection.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        began, is_noted = time.monotonic(), False
        deadline, checked = began + wait_s, began + _CHECK_S
        while not try_lock(file):
            file.seek(0)
            found = file.read()
            if collects := collector(path.parents[1]):
                deadline, checked = time.monotonic() + wait_s, time.monotonic() + _CHECK_S
            elif time.monotonic() > deadline or (not wait_for_owner and time.monotonic() > checked and is_alive(found)):
                yield found
                return
            if (wait_for_owner or collects) and not is_noted and time.monotonic() > began + NOTE_AFTER_S:
                what = f"`genai gc` (process {collects})" if collects else f"process {found}, which changes files here"
                current_view().note(f"waiting for {what}")
                is_noted = True
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def lock_owner(workspace: Path, what: str) -> str | None:
    """The id of the process of a "run" or "retraining" that is active here (only_run_in); None if there is none."""
    with suppress(FileNotFoundError), (workspace / ".genai" / f"{what}.lock").open() as file:
        if not try_lock(file, shared=True):
            return file.read() or "unknown"
    return None


def is_alive(process: str) -> bool:
    with suppress(psutil.NoSuchProcess, ValueError):
        return bool(psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE)
    return False


def repair_locks(workspace: Path) -> list[str]:
    """Repair those of DVC's files that a kill or a full disk truncated. Return what was done.

    DVC truncates and rewrites them, so a kill in between leaves them empty, and every later command fails.
    Raises GraphError, or ConfigError for a data source's file that no commit has.
    """
    repaired = []
    for name in _REWRITTEN:
        if _is_empty(workspace / name):
            with open_repo(workspace) as repo, repo.lock:  # a process that writes the file holds this lock
                if _is_empty(workspace / name):
                    repaired.append(_restored(workspace, name))
    running = workspace / ".dvc" / "tmp" / "rwlock"  # DVC's list of readers and writers
    if _is_broken_json(running):
        time.sleep(_WRITING_S)  # another process may be writing it
        if _is_broken_json(running):
            running.unlink(missing_ok=True)  # another run may have removed it
            repaired.append(f"{running.relative_to(workspace)} was truncated (an interrupted write); removed it")
    return repaired


def check_lock_file(workspace: Path) -> None:
    """Raise ConfigError if one of DVC's files is empty. For commands that change nothing, so cannot repair_locks."""
    if empty := [name for name in _REWRITTEN if _is_empty(workspace / name)]:
        time.sleep(_WRITING_S)  # another process may be writing it
        for name in empty:
            if _is_empty(workspace / name):
                raise ConfigError(
                    f"{name} is empty (an interrupted write), so the pipeline's state is unknown; genai run repairs it "
                    "and continues"
                )


def _restored(workspace: Path, name: str) -> str:
    """Restore the committed file, and say so. Without one, remove dvc.lock. Raises ConfigError for another file.

    Nothing is lost: the run-cache restores the stages that have finished since, and a run records data that differs
    from its .dvc file.
    """
    path = workspace / name
    committed = files_at(workspace, "HEAD", [name]).get(name, b"")
    then = "Finished stages come from the cache" if name == LOCK_FILE else "A run records what differs from it"
    if committed.strip():
        write_file(path, committed)
        return f"{name} was empty (an interrupted write); restored the committed one. {then}"
    if name != LOCK_FILE:
        data = name.removesuffix(".dvc")
        raise ConfigError(
            f"{name} is empty (an interrupted write), and HEAD has none; track the data again: "
            f"rm {name} && dvc add {data}"
        )
    path.unlink()
    return f"{name} was empty (an interrupted write); removed it. {then}"


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.read_bytes().strip()


def _is_broken_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def _check_data(workspace: Path) -> None:
    tracked = (workspace / f"{RAW_DATA}.dvc").is_file()
    folder = workspace / RAW_DATA
    if not tracked:
        raise ConfigError(f"{RAW_DATA}: there is no data yet; add some: genai data add PATH, or builtin:digits")
    # A missing folder may be in the cache: the plan handles that.
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ConfigError(f"{RAW_DATA}: the folder contains no files; add images: genai data add PATH")
