"""Is this a workspace in which a run can start? One clear line for what is missing, before any stage begins."""

import subprocess
from pathlib import Path

from genai_core.config import PARAMS_FILE, Config, ConfigError, load_config

RAW_DATA = Path("data/raw")
LOCK_FILE = "dvc.lock"


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


def repair_lock_file(workspace: Path) -> str | None:
    """Bring back a dvc.lock that a kill or a full disk cut short. Returns what was done, None if nothing had to be.

    DVC truncates the file and writes it anew. With the committed one back (or none), the run-cache
    restores the stages that were done since.
    """
    path = workspace / LOCK_FILE
    if not path.is_file() or path.read_bytes().strip():
        return None
    committed = subprocess.run(["git", "show", f"HEAD:./{LOCK_FILE}"], cwd=workspace, capture_output=True, check=False)
    if committed.returncode == 0 and committed.stdout.strip():
        path.write_bytes(committed.stdout)
        return f"{LOCK_FILE} was empty (an interrupted write); took the committed one, finished stages are restored"
    path.unlink()
    return f"{LOCK_FILE} was empty (an interrupted write); removed it, finished stages are restored"


def _check_data(workspace: Path) -> None:
    tracked = (workspace / f"{RAW_DATA}.dvc").is_file()
    folder = workspace / RAW_DATA
    if not tracked:
        raise ConfigError(f"{RAW_DATA}: there is no data yet; add some: genai data add PATH, or builtin:digits")
    # A folder that is not there may be in the cache: the plan sees to that.
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ConfigError(f"{RAW_DATA}: the folder holds no file; add images: genai data add PATH")
