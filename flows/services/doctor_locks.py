"""`genai doctor`: locks that the dead left."""

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from flows.git import git
from flows.runs.checkout import WORKTREES
from flows.runs.record import LOCK, RUNS
from flows.services.check import Check

# git writes its index within seconds; who left a lock of this age is dead.
OLD_LOCK_S = 600.0


def check_locks(workspace: Path) -> Check:
    """Locks of runs and retrainings, of DVC and of git."""
    heals = []
    faults = [
        f"what a dead run left still holds {path.relative_to(workspace)}: {held}"
        for path in _own_locks(workspace)
        if (held := _held_by_leftovers(path))
    ]
    lock_file = workspace / "dvc.lock"
    if lock_file.is_file() and not lock_file.read_bytes().strip():
        heals.append("dvc.lock is empty, an interrupted write")
    if dead := _dead_in_rwlock(workspace / ".dvc" / "tmp" / "rwlock"):
        heals.append(f".dvc/tmp/rwlock: {dead}")
    index = Path(git(workspace, "rev-parse", "--git-path", "index.lock").strip())
    index = index if index.is_absolute() else workspace / index
    if index.is_file() and time.time() - index.stat().st_mtime > OLD_LOCK_S:
        faults.append(f"{index} is older than {OLD_LOCK_S / 60:.0f} minutes")
    if faults:
        todo = "end the processes (kill PID): a lock goes with the last that holds it; remove git's when no git runs"
        return Check("locks", "fail", "; ".join(faults + heals), todo)
    if heals:
        return Check("locks", "warn", "; ".join(heals), "the next genai run fixes it")
    return Check("locks", "ok", "no stale locks")


def _own_locks(workspace: Path) -> list[Path]:
    """Of runs and retrainings in this checkout, and of what these run in checkouts of their own."""
    own = [workspace / ".genai" / f"{what}.lock" for what in ("change", "retraining")]
    own += sorted((workspace / WORKTREES).glob("*/.genai/run.lock"))
    return own + sorted((workspace / RUNS).glob(f"*/{LOCK}"))


def _held_by_leftovers(path: Path) -> str:
    """The processes that hold a lock whose own process is dead; empty: it is free, or held by who took it.

    The kernel frees such a lock with the last process that has it, so the file itself is no obstacle.
    """
    if not path.is_file():
        return ""
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip()
            if holder.isdigit() and psutil.pid_exists(int(holder)):
                return ""
            return ", ".join(f"process {pid}" for pid in _open_in(path)) or "a process that cannot be seen"
    return ""


def _open_in(path: Path) -> list[int]:
    """The processes, other than this one, that have a file open."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(Path(f.path) == path.resolve() for f in process.open_files()):
                found.append(process.pid)
    return found


def _dead_in_rwlock(path: Path) -> str:
    """What is wrong with DVC's note of who reads and writes what; empty when nothing is."""
    try:
        entries = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        return "cut short, an interrupted write"
    holders = [entry.get("write") for entry in entries.values()]
    holders += [reader for entry in entries.values() for reader in entry.get("read") or []]
    dead = sorted({str(holder["pid"]) for holder in holders if holder and not psutil.pid_exists(int(holder["pid"]))})
    return f"names processes that ended: {', '.join(dead)}" if dead else ""
