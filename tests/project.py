"""A checkout of the project to try things in: its files as they are, a git and a DVC repo, small parameters."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.test_rooms import ROOT

# Enough of everything for each stage to do its work, in seconds.
SMALL_TRAINING = {"total_images": 1_280, "batch_images": 64, "warmup_images": 128, "ema_halflife_images": 128}
SMALL = {
    "data": {"image_size": 8},
    "augment": {"expand": 1.1},
    "extractor": {"width": 8, "feature_dim": 16, "total_images": 3_000, "batch_images": 64},
    "models": {
        "diffusion": {"network": {"width": 16}, "training": SMALL_TRAINING, "sampling": {"steps": 4}},
        "gan": {"network": {"width": 16, "latent_dim": 16}, "training": SMALL_TRAINING},
    },
    "evaluation": {"total_images": 100, "batch_images": 50, "is_splits": 2},
    "finetune": {"total_images": 640, "warmup_images": 64, "ema_halflife_images": 128},
    "generate": {"total_images": 20, "batch_images": 10},
    "report": {"grid_images": 16},
}


def new_checkout(folder: Path, **changes: Any) -> Path:
    """Copy the project's files to `folder` as a git repo with one commit, parameters as SMALL with `changes` on top."""
    _copy_project(folder)
    change_parameters(folder, lambda values: _make_small(values, {**SMALL, **changes}))
    return _committed(folder)


def new_clone(folder: Path) -> Path:
    """Copy the project's files to `folder` as a git repo with one commit, parameters as they are."""
    _copy_project(folder)
    return _committed(folder)


# What a developer's own runs leave in a checkout: no part of the project.
PERSONAL = {"data/raw.dvc", "data/.gitignore", "dvc.lock"}


def change_parameters(folder: Path, change: Callable[[Any], None]) -> None:
    """Edit params.yaml, comments and order kept."""
    yaml = YAML()
    path = folder / "params.yaml"
    values = yaml.load(path)
    change(values)
    with path.open("w") as file:
        yaml.dump(values, file)


def genai(folder: Path, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user in `folder` does; its output is part of the failure's message."""
    return run([sys.executable, "-m", "flows.cli", *arguments], folder, check=check, **environment)


def dvc(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "dvc", *arguments], folder, check=check)


def git(folder: Path, *arguments: str) -> None:
    run(["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments], folder)


def run(
    command: list[str], folder: Path, *, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    answer = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if check:
        assert answer.returncode == 0, f"{command} ended with {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
    return answer


def _copy_project(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith(("tests/", "docs/", "metrics/")) and name not in PERSONAL:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _committed(folder: Path) -> Path:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a checkout")
    return folder


def _make_small(values: Any, changes: dict[str, Any]) -> None:
    # Two families are enough: how each one trains is tested by itself.
    for name in set(values["models"]) - set(SMALL["models"]):
        del values["models"][name]
    _merge(values, changes)


def _merge(values: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and key in values:
            _merge(values[key], value)
        else:
            values[key] = value
