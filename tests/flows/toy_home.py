"""Toy workspaces: the real DVC and git, with stages that only wait and write. For tests and benchmarks/kills.py."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.project import ROOT, change_parameters

TOY = Path(__file__).with_name("toy")


def own_settings(folder: Path) -> dict[str, str]:
    """An environment without the user's settings of Prefect, DVC and git, and without GPUs."""
    people = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _TOY_PERSON.items()}
    return {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DVC_SITE_CACHE_DIR": str(folder / "dvc-cache"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder / "dvc-system"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "CUDA_VISIBLE_DEVICES": "",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        **people,
    }


def new_toy(folder: Path, change: Callable[[Any], None]) -> Path:
    """A toy workspace in which nothing has run, with the project's parameters after `change`."""
    (folder / "data" / "raw").mkdir(parents=True)
    for number in range(3):
        (folder / "data" / "raw" / f"{number}.txt").write_text(f"image {number}")
    shutil.copy(TOY / "pipeline.yaml", folder / "dvc.yaml")
    shutil.copy(TOY / "work.py", folder)
    (folder / "work.py").chmod(0o755)  # DVC records that a file can be executed, too
    shutil.copy(ROOT / "params.yaml", folder)
    change_parameters(folder, change)
    (folder / ".gitignore").write_text(".genai/\n/data/raw\n/out/\n")
    shell(folder, "git init -q -b main && dvc init -q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    shell(folder, "dvc add -q data/raw && git add -A && git commit -q -m toy")
    return folder


def shell(folder: Path, command: str) -> str:
    """Run a command line, which must succeed, and return its output."""
    answer = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, f"{command}: {answer.stdout}{answer.stderr}"
    return answer.stdout


_TOY_PERSON = {"NAME": "toy", "EMAIL": "toy@example.org"}
