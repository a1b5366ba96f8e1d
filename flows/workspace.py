"""Is this a workspace in which a run can start? One clear line for what is missing, before any stage begins."""

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

# As long as the processes of a killed run may take to end.
LEFTOVERS_S = DEFAULT_GRACE_S + 5.0
# As long as adding much data may take.
CHANGING_S = 3600.0
SILENT_S = 2.0  # who waits for longer is told for whom
_WRITING_S = 0.5  # DVC takes milliseconds to write these files anew


def checked_config(workspace: Path) -> Config:
    """The config of a workspace that is fit to run. Raises ConfigError that says what is missing and what to do."""
    for name in ("dvc.yaml", ".dvc"):
        if not (workspace / name).exists():
            raise ConfigError(
                f"{workspace}: no {name} here; run genai in a checkout of the project, or name one with --workspace"
            )
    config = load_config(workspace / PARAMS_FILE)
    _check_data(workspace)
    return config


@contextmanager
def only_run_in(workspace: Path, what: str = "run") -> Iterator[int]:
    """Hold a checkout for the body: two runs in one would take each other's half-made outputs for their own.

    what: a run, or a retraining, which runs elsewhere: those hold each other off, too.
    Yields a file descriptor: whoever inherits it holds the checkout too, so that a run which was killed holds it until
    its last process has ended; that is waited for. Raises ConfigError when another run is at work.
    """
    with _held(workspace / ".genai" / f"{what}.lock", LEFTOVERS_S, for_the_living=False) as held:
        if isinstance(held, str):
            raise ConfigError(f"{workspace}: another {what} is at work here (process {held}); wait for it or end it")
        yield held


@contextmanager
def changing(workspace: Path, what: str, wait_s: float = CHANGING_S) -> Iterator[None]:
    """Hold what the workspace's files say for the body: nobody else adds data, takes a snapshot or accepts results.

    Not for long, but for adding data. Waits; raises ConfigError after `wait_s`.
    """
    with _held(workspace / ".genai" / "change.lock", wait_s, for_the_living=True) as held:
        if isinstance(held, str):
            raise ConfigError(
                f"{workspace}: cannot {what} while process {held} changes files here; wait for it or end it"
            )
        yield


@contextmanager
def _held(path: Path, wait_s: float, *, for_the_living: bool) -> Iterator[int | str]:
    """A lock file, by its descriptor; or the process that holds it, after waiting for it to end."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        began, said = time.monotonic(), False
        deadline = began + wait_s
        while not _locked(file):
            file.seek(0)
            holder = file.read()
            if (not for_the_living and _is_alive(holder)) or time.monotonic() > deadline:
                yield holder
                return
            if for_the_living and not said and time.monotonic() > began + SILENT_S:
                current_view().note(f"waits for process {holder}, which changes files here")
                said = True
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def is_at_work(workspace: Path, what: str = "run") -> bool:
    """Whether a run, or a retraining, holds the workspace (only_run_in)."""
    path = workspace / ".genai" / f"{what}.lock"
    if not path.is_file():
        return False
    with path.open("a+") as file:
        return not _locked(file)


def repair_locks(workspace: Path) -> list[str]:
    """Mend those of DVC's files that a kill or a full disk cut short; says what was done. Raises GraphError.

    DVC truncates them and writes them anew, so that a kill in between leaves nothing, and every later command fails.
    """
    said = []
    if _is_empty(workspace / LOCK_FILE):
        with open_repo(workspace) as repo, repo.lock:  # who writes the file holds this lock
            if _is_empty(workspace / LOCK_FILE):
                said.append(_restore_lock_file(workspace))
    running = workspace / ".dvc" / "tmp" / "rwlock"  # who reads and writes what at the moment
    if _is_broken_json(running):
        time.sleep(_WRITING_S)  # for one who writes it just now
        if _is_broken_json(running):
            running.unlink()
            said.append(f"{running.relative_to(workspace)} was cut short (an interrupted write); removed it")
    return said


def check_lock_file(workspace: Path) -> None:
    """For those who change nothing. Raises ConfigError when dvc.lock was cut short: only repair_locks helps then."""
    if _is_empty(workspace / LOCK_FILE):
        time.sleep(_WRITING_S)  # for one who writes it just now
        if _is_empty(workspace / LOCK_FILE):
            raise ConfigError(
                f"{LOCK_FILE} is empty (an interrupted write), nothing can be planned; genai run fixes it and goes on"
            )


def _restore_lock_file(workspace: Path) -> str:
    """With the committed dvc.lock back (or none), the run-cache restores the stages that were done since."""
    path = workspace / LOCK_FILE
    committed = files_at(workspace, "HEAD", [LOCK_FILE]).get(LOCK_FILE, b"")
    if committed.strip():
        path.write_bytes(committed)
        return f"{LOCK_FILE} was empty (an interrupted write); took the committed one, finished stages are restored"
    path.unlink()
    return f"{LOCK_FILE} was empty (an interrupted write); removed it, finished stages are restored"


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
    # A folder that is not there may be in the cache: the plan sees to that.
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ConfigError(f"{RAW_DATA}: the folder holds no file; add images: genai data add PATH")
