"""What git and DVC say of the workspace, from child processes: tasks import neither."""

import os
import re
import subprocess
import sys

TIME_LIMIT_S = 60
# What a run itself writes (dvc.lock, metrics) is no change of the code.
CODE = ("genai_core", "tasks", "flows", "dvc.yaml", "params.yaml")


def code_version() -> dict[str, str]:
    """The commit, and whether code or parameters differ from it; says so where git does not answer.

    `genai run` works on a commit that no branch names, and says in the environment what it is a snapshot of.
    """
    try:
        commit = _answer(["git", "rev-parse", "HEAD"]).strip()
        branch = _answer(["git", "rev-parse", "--abbrev-ref", "HEAD"]).strip()
        # -z: a name may hold what str.splitlines takes for the end of a line.
        status = _answer(["git", "--no-optional-locks", "status", "--porcelain", "-z", "--no-renames", "--", *CODE])
        changed = [entry for entry in status.split("\0") if entry]
    except ValueError as error:
        return {"commit": f"unknown: {error}"}
    if snapshot_of := os.environ.get("GENAI_BRANCH"):
        files = int(os.environ.get("GENAI_CHANGED", "0"))
        state = f"a snapshot: {files} file{'s' if files > 1 else ''} not committed" if files else "as committed"
        return {"commit": commit, "branch": snapshot_of, "state": state}
    state = f"{len(changed)} file{'s' if len(changed) > 1 else ''} changed since" if changed else "as committed"
    return {"commit": commit, "branch": branch, "state": state}


def stage_edges() -> list[tuple[str, str]]:
    """The (upstream, downstream) edges of DVC's graph. Raises ValueError with DVC's last line when it gives none."""
    # As a module: the same environment's DVC, whatever is on the PATH.
    drawn = _answer([sys.executable, "-m", "dvc", "dag", "--dot"])
    edges = re.findall(r'^\s*"([^"]+)"\s*->\s*"([^"]+)"', drawn, flags=re.MULTILINE)
    if not edges:
        raise ValueError("`dvc dag --dot` gave no edges")
    return edges


def _answer(command: list[str]) -> str:
    """The command's output. Raises ValueError with its last line when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"`{' '.join(command)}`: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ValueError(f"`{' '.join(command)}`: {lines[-1]}")
    return done.stdout
