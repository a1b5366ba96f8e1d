"""Check and lock the workspace before a run, and repair files that an interrupted write left."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import psutil

from flows.git import files_at
from flows.graph import open_repo
from flows.locked import LOCK_FILE
from flows.process import DEFAULT_GRACE_S
from flows.view import current_view
from genai_core.config import PARAMS_FILE, Config, ConfigError, load_config

RAW_DATA = Path("data/raw")

# The processes of a killed run may take this long to end.
LEFTOVERS_S = DEFAULT_GRACE_S + 5.0
# Adding much data may take this long.
CHANGING_S = 3600.0
NOTE_AFTER_S = 2.0  # of waiting: then print for which process
_WRITING_S = 0.5  # DVC takes milliseconds to rewrite these files


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

    wait_for_owner: wait while the owner is alive, too; otherwise only for the descendants of a dead owner.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        began, is_noted = time.monotonic(), False
        deadline = began + wait_s
        while not _locked(file):
            file.seek(0)
            holder = file.read()
            if (not wait_for_owner and _is_alive(holder)) or time.monotonic() > deadline:
                yield holder
                return
            if wait_for_owner and not is_noted and time.monotonic() > began + NOTE_AFTER_S:
                current_view().note(f"waiting for process {holder}, which is changing files here")
                is_noted = True
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def is_at_work(workspace: Path, what: str) -> bool:
    """Whether a "run", or a "retraining", holds the workspace (only_run_in)."""
    path = workspace / ".genai" / f"{what}.lock"
    if not path.is_file():
        return False
    with path.open("a+") as file:
        return not _locked(file)


def repair_locks(workspace: Path) -> list[str]:
    """Repair those of DVC's files that a kill or a full disk truncated. Return what was done. Raises GraphError.

    DVC truncates and rewrites them, so a kill in between leaves them empty, and every later command fails.
    """
    repaired = []
    if _is_empty(workspace / LOCK_FILE):
        with open_repo(workspace) as repo, repo.lock:  # a process that writes the file holds this lock
            if _is_empty(workspace / LOCK_FILE):
                repaired.append(_restore_lock_file(workspace))
    running = workspace / ".dvc" / "tmp" / "rwlock"  # DVC's list of readers and writers
    if _is_broken_json(running):
        time.sleep(_WRITING_S)  # another process may be writing it
        if _is_broken_json(running):
            running.unlink()
            repaired.append(f"{running.relative_to(workspace)} was truncated (an interrupted write); removed it")
    return repaired


def check_lock_file(workspace: Path) -> None:
    """Raise ConfigError if dvc.lock is empty. For commands that change nothing, so they cannot call repair_locks."""
    if _is_empty(workspace / LOCK_FILE):
        time.sleep(_WRITING_S)  # another process may be writing it
        if _is_empty(workspace / LOCK_FILE):
            raise ConfigError(
                f"{LOCK_FILE} is empty (an interrupted write), so there is no plan; genai run repairs it and continues"
            )


def _restore_lock_file(workspace: Path) -> str:
    """Restore the committed dvc.lock, or remove it. The run-cache then restores the stages that have finished since."""
    path = workspace / LOCK_FILE
    committed = files_at(workspace, "HEAD", [LOCK_FILE]).get(LOCK_FILE, b"")
    if committed.strip():
        path.write_bytes(committed)
        return (
            f"{LOCK_FILE} was empty (an interrupted write); restored the committed one. "
            "Finished stages come from the cache"
        )
    path.unlink()
    return f"{LOCK_FILE} was empty (an interrupted write); removed it. Finished stages come from the cache"


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


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(number: str) -> bool:
    with suppress(psutil.NoSuchProcess, ValueError):
        return bool(psutil.Process(int(number)).status() != psutil.STATUS_ZOMBIE)
    return False


def _check_data(workspace: Path) -> None:
    tracked = (workspace / f"{RAW_DATA}.dvc").is_file()
    folder = workspace / RAW_DATA
    if not tracked:
        raise ConfigError(f"{RAW_DATA}: there is no data yet; add some: genai data add PATH, or builtin:digits")
    # A missing folder may be in the cache: the plan handles that.
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ConfigError(f"{RAW_DATA}: the folder contains no files; add images: genai data add PATH")
