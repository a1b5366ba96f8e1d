"""Removes a run's checkout when the run was killed before it could.

    python -I -S keeper.py WORKSPACE RUN_FOLDER

Standard input is the lifeline: its end says that the run is over. What the run started may take seconds to save and
end, and holds the run's lock until then. Standard library only: it starts in 20 ms.
"""

import fcntl
import shutil
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 60.0


def main() -> None:
    workspace, folder = sys.argv[1], Path(sys.argv[2])
    sys.stdin.read()
    checkout = folder / "checkout"
    deadline = time.monotonic() + PATIENCE_S
    while checkout.exists() and time.monotonic() < deadline:
        with (folder / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.1)
                continue
            command = ["git", "-C", workspace, "worktree", "remove", "--force", "--force", str(checkout)]
            subprocess.run(command, capture_output=True, check=False)
            shutil.rmtree(checkout, ignore_errors=True)
            subprocess.run(["git", "-C", workspace, "worktree", "prune"], capture_output=True, check=False)
            return


if __name__ == "__main__":
    main()
