"""Git and DVC versions of the workspace, from child processes: tasks import neither."""

import os
import re
import subprocess
import sys

TIME_LIMIT_S = 60
# Files that a run itself writes (dvc.lock, metrics) do not count as code changes.
CODE = ("genai_core", "tasks", "flows", "dvc.yaml", "params.yaml")


def code_version() -> dict[str, str]:
    """Return the commit, and whether code or parameters differ from it; a message if git fails.

    `genai run` works on a commit without a branch, and names the original branch in the environment.
    """
    try:
        commit = _output_of(["git", "rev-parse", "HEAD"]).strip()
        branch = _output_of(["git", "rev-parse", "--abbrev-ref", "HEAD"]).strip()
        # -z: a name may contain characters that str.splitlines treats as line breaks.
        status = _output_of(["git", "--no-optional-locks", "status", "--porcelain", "-z", "--no-renames", "--", *CODE])
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
    """Return the (upstream, downstream) edges of DVC's graph. Raises ValueError if DVC fails, or without edges."""
    # As a module: uses the DVC of this environment, regardless of PATH.
    drawn = _output_of([sys.executable, "-m", "dvc", "dag", "--dot"])
    edges = re.findall(r'^\s*"([^"]+)"\s*->\s*"([^"]+)"', drawn, flags=re.MULTILINE)
    if not edges:
        raise ValueError("`dvc dag --dot` returned no edges")
    return edges


def _output_of(command: list[str]) -> str:
    """Run a command and return its output. Raises ValueError with its last line when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"`{' '.join(command)}`: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ValueError(f"`{' '.join(command)}`: {lines[-1]}")
    return done.stdout
