"""Remove a run's checkout if the run was killed before it could remove it.

    python -I -S keeper.py WORKSPACE RUN_FOLDER [FOLDER ...]

Each FOLDER has outputs, or DVC's cache. DVC tests there which links work, and leaves a test file if it is killed.
Standard input is the lifeline: if it ends without a message, the run was killed. The run's processes may take seconds
to save and end, and hold the run's lock until then. A git that was making the checkout holds no lock and continues. So
the checkout must stay removed for a while. Standard library only: it starts in 20 ms.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 60.0
TRIAL_S = 1.0  # DVC's test takes milliseconds
SETTLED_S = 3.0  # longer than git pauses between two files


def main() -> None:
    workspace, folder = sys.argv[1], Path(sys.argv[2])
    checkout = folder / "checkout"
    if sys.stdin.read() and not checkout.exists():
        return
    deadline = time.monotonic() + PATIENCE_S
    last_there = time.monotonic()
    while folder.exists() and time.monotonic() < min(deadline, last_there + SETTLED_S):
        if not _remove(workspace, folder, checkout):
            last_there = time.monotonic()
        time.sleep(0.1)
    for path in (path for name in sys.argv[3:] for path in Path(name).glob(".*.tmp")):
        _remove_trial(path)


def _remove_trial(path: Path) -> None:
    """Remove the test file of dvc_objects.fs.generic.test_links, or a link to it, unless a test is active."""
    with suppress(OSError):
        is_trial = path.is_symlink() or path.stat().st_size <= 4
        if is_trial and time.time() - path.lstat().st_mtime > TRIAL_S:
            path.unlink()


def _end_stages_of(checkout: Path) -> None:
    """End stages whose supervisor was killed with the run; only on Linux, which shows a process's variables."""
    own = b"DVC_ROOT=" + os.fsencode(checkout)
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if any(variable == own or variable.startswith(own + b"/") for variable in path.read_bytes().split(b"\0")):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _remove(workspace: str, folder: Path, checkout: Path) -> bool:
    """Remove the checkout and git's record of it, unless a process works there; return whether there was none."""
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for unfinished in folder.glob(".run.json.*"):
            unfinished.unlink(missing_ok=True)
        was_there = checkout.exists()
        if was_there:
            _end_stages_of(checkout)
        # The run may have been killed after it deleted the folder, and before git forgot it.
        command = ["git", "-C", workspace, "worktree", "remove", "--force", "--force", str(checkout)]
        subprocess.run(command, capture_output=True, check=False)
        shutil.rmtree(checkout, ignore_errors=True)
        return not was_there


if __name__ == "__main__":
    main()
