"""`genai doctor`: locks that dead processes left."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from flows.dvc_lock import LOCK_FILE, SOURCE_FILES
from flows.file_lock import try_lock
from flows.git import git, prefix_of
from flows.runs.checkout import WORKTREES
from flows.runs.record import LOCK, RUNS
from flows.services.check import Check

# git writes its index within seconds, so the owner of an older lock is dead.
OLD_LOCK_S = 600.0


def check_locks(workspace: Path) -> Check:
    """Locks of runs and retrainings, of DVC and of git."""
    heals = [
        f"{name} is empty (an interrupted write)"
        for name in (LOCK_FILE, *SOURCE_FILES)
        if (workspace / name).is_file() and not (workspace / name).read_bytes().strip()
    ]
    faults = [
        f"{path.relative_to(workspace)} is still held by processes of a dead run: {held}"
        for path in _own_locks(workspace)
        if (held := _orphan_holders(path))
    ]
    if dead := _rwlock_fault(workspace / ".dvc" / "tmp" / "rwlock"):
        heals.append(f".dvc/tmp/rwlock: {dead}")
    index = Path(git(workspace, "rev-parse", "--git-path", "index.lock").strip())
    index = index if index.is_absolute() else workspace / index
    if index.is_file() and time.time() - index.stat().st_mtime > OLD_LOCK_S:
        faults.append(f"{index} is older than {OLD_LOCK_S / 60:.0f} minutes")
    if faults:
        todo = "end the processes (kill PID), which frees their lock; remove index.lock if no git command is running"
        return Check("locks", "fail", "; ".join(faults + heals), todo)
    if heals:
        return Check("locks", "warn", "; ".join(heals), "the next genai run fixes it")
    return Check("locks", "ok", "no stale locks")


def _own_locks(workspace: Path) -> list[Path]:
    """The locks of runs and retrainings in this checkout, and of runs in their worktrees."""
    own = [workspace / ".genai" / f"{what}.lock" for what in ("change", "retraining")]
    own += sorted((workspace / WORKTREES).glob(f"*/{prefix_of(workspace)}.genai/run.lock"))
    return own + sorted((workspace / RUNS).glob(f"*/{LOCK}"))


def _orphan_holders(path: Path) -> str:
    """The processes that hold a lock whose owner is dead; empty if it is free or its owner is alive.

    The kernel frees the lock when the last process that holds it ends. The file itself does not block anything.
    """
    with suppress(FileNotFoundError), path.open() as file:
        if not try_lock(file, shared=True):  # other checks and `genai gc` do not count
            holder = file.read().strip()
            # Empty: for a moment between lock and write, or a lock that names no owner.
            if not holder or (holder.isdigit() and psutil.pid_exists(int(holder))):
                return ""
            return ", ".join(f"process {pid}" for pid in _processes_with_open(path)) or "a process not visible here"
    return ""


def _processes_with_open(path: Path) -> list[int]:
    """The other processes that have the file open."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(Path(f.path) == path.resolve() for f in process.open_files()):
                found.append(process.pid)
    return found


def _rwlock_fault(path: Path) -> str:
    """The fault of DVC's list of readers and writers; empty if there is none."""
    try:
        entries = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        return "truncated (an interrupted write)"
    holders = [entry.get("write") for entry in entries.values()]
    holders += [reader for entry in entries.values() for reader in entry.get("read") or []]
    dead = sorted({str(holder["pid"]) for holder in holders if holder and not psutil.pid_exists(int(holder["pid"]))})
    return f"names processes that have ended: {', '.join(dead)}" if dead else ""
