"""What can be seen of a run from outside: its processes, where it is, what it made, and what it left behind.

Linux only: locks and environments are read in /proc, so that looking disturbs nothing.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

SERVER = "temporary_server.py"
MARK = "GENAI_KILLS"  # inherited by all that a command starts, wherever it moves
PHASES = ("start", "planning", "snapshot", "checkout", "between stages", "recording", "acceptance", "end")
STAGES = ("prepare", "train@diffusion", "train@gan", "train@vae", "train@vqvae", "select")

# In which order a run comes through them; what may come at any time between has no place here.
_ORDER = {"start": 0, "planning": 1, "snapshot": 1, "checkout": 2, "prepare": 3, "select": 5, "end": 6}
_ORDER |= {stage: 4 for stage in STAGES if stage not in _ORDER}
_LAST = 6

# Names of files that are being written: ours, git's and DVC's.
_HALF_WRITTEN = re.compile(r"\.new$|^\.new|^new(-|$)|\.lock\.new$|^tmp_obj_|^tmp[a-z0-9_]{8}$|^index\.lock$|\.tmp$")
_CACHED = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$")


def marked(mark: str) -> Iterator[psutil.Process]:
    """Living processes whose environment has a mark that begins so."""
    wanted = f"{MARK}={mark}".encode()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and any(variable.startswith(wanted) for variable in variables):
                yield process


def role_of(process: psutil.Process) -> str:
    """What a process of a run is for."""
    words = process.cmdline()
    line = " ".join(words)
    if "flows.cli" in line:
        return "command"
    if "keeper.py" in line:
        return "keeper"
    if "supervisor.py" in line:
        return "server's supervisor" if SERVER in line else "stage's supervisor"
    if SERVER in line:
        return "server"
    if "work.py" in line or line.startswith("sleep"):
        return "stage"
    return "other"  # git, and what Python's libraries start


def phase_of(workspace: Path, temporary: Path, pid: int) -> str:
    """Where the run that process `pid` does is: one of PHASES or STAGES."""
    held = held_locks()
    changing = _key(workspace / ".genai" / "change.lock") in held
    runs = [folder for folder in (workspace / ".genai" / "runs").glob("*") if _key(folder / "lock") in held]
    own = [(folder, record) for folder in runs if (record := _record(folder)).get("pid", pid) == pid]
    if not own:
        if _last_run_of(workspace, pid):
            return "end"
        if any(temporary.glob("genai-snapshot-*")):
            return "snapshot"
        return "planning" if changing else "start"
    folder, record = own[-1]
    if not record:
        return "checkout"
    if record["state"] != "running":
        return "end"
    if changing:
        return "acceptance"
    running = sorted(name for name, stage in record["stages"].items() if stage["outcome"] == "running")
    if _key(folder / "checkout" / ".dvc" / "tmp" / "lock") in held:
        return "recording"
    return running[pid % len(running)] if running else "between stages"


def is_past(phase: str, moment: str) -> bool:
    """Whether a run in this phase has certainly left `moment` behind."""
    return _ORDER.get(phase, -1) > _ORDER.get(moment, _LAST - 1)


def held_locks() -> set[str]:
    """The files on which somebody holds a lock, as device and inode."""
    lines = Path("/proc/locks").read_text().splitlines()
    fields = [line.split() for line in lines if "->" not in line]
    return {words[5] for words in fields if words[1] == "FLOCK"}


def outcome_of(workspace: Path) -> dict[str, Any] | None:
    """dvc.lock as values, and the sha256 of every output; None while dvc.lock cannot be read."""
    try:
        lock = YAML(typ="safe").load(workspace / "dvc.lock")
    except (OSError, YAMLError):
        return None
    files = [path for name in ("out", "metrics") for path in sorted((workspace / name).rglob("*")) if path.is_file()]
    hashes = {str(path.relative_to(workspace)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    # DVC writes .gitignore files where it likes, and they say nothing of a result.
    return {"lock": lock, "files": {name: value for name, value in hashes.items() if not name.endswith(".gitignore")}}


def left_behind(workspace: Path, temporary: Path, mark: str = "") -> list[str]:
    """What runs that are over have left: processes, held locks, half-written files, worktrees."""
    return [
        *(f"process: {role_of(process)}" for process in marked(mark)),
        *(f"lock: {name}" for name in _locks_in(workspace)),
        *(f"half-written: {name}" for name in half_written(workspace)),
        *(f"temporary: {path.name}" for path in temporary.iterdir()),
        *(f"worktree: {name}" for name in worktrees(workspace)),
    ]


def half_written(workspace: Path) -> list[str]:
    """Files that are not whole, anywhere in the workspace, git's and DVC's own folders included."""
    found = []
    for folder, folders, files in os.walk(workspace):
        names = [str((Path(folder) / name).relative_to(workspace)) for name in (*folders, *files)]
        found += [name for name in names if _HALF_WRITTEN.search(Path(name).name)]
    cache = workspace / ".dvc" / "cache" / "files" / "md5"
    objects = [path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()]
    return found + [f"cache: {name}" for name in objects if not _CACHED.match(name)]


def worktrees(workspace: Path) -> list[str]:
    """Checkouts besides the user's own: those that git knows, and folders of runs."""
    listed = subprocess.run(
        ["git", "worktree", "list", "--porcelain"], cwd=workspace, capture_output=True, text=True, check=True
    )
    known = [line.removeprefix("worktree ") for line in listed.stdout.splitlines() if line.startswith("worktree ")]
    return known[1:] + [str(path) for path in (workspace / ".genai" / "runs").glob("*/checkout")]


def checkout_of(workspace: Path, pid: int) -> Path | None:
    """The checkout that a process left of its run."""
    folders = [folder / "checkout" for folder in _runs_of(workspace, pid)]
    return next((folder for folder in folders if folder.exists()), None)


def _locks_in(workspace: Path) -> list[str]:
    held = held_locks()
    files = [
        path
        for pattern in (".genai/*.lock", ".genai/runs/*/lock", ".genai/jobs/*", ".dvc/tmp/*lock*")
        for path in workspace.glob(pattern)
    ]
    working = workspace / ".dvc" / "tmp" / "rwlock"
    named = ["rwlock names somebody"] if any(_users(working).values()) else []
    return named + [str(path.relative_to(workspace)) for path in files if _key(path) in held]


def _users(rwlock: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads(rwlock.read_text()))
    return {}


def _key(path: Path) -> str:
    """A file as /proc/locks names it."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"


def _record(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / "run.json").read_text()))
    return {}


def _runs_of(workspace: Path, pid: int) -> list[Path]:
    folders = sorted((workspace / ".genai" / "runs").glob("*"))
    return [folder for folder in folders if _record(folder).get("pid") == pid]


def _last_run_of(workspace: Path, pid: int) -> bool:
    return bool(_runs_of(workspace, pid))
