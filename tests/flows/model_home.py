"""A repository whose pipeline makes a tiny real model in two stages, for tests of registry and lineage."""

import subprocess
import sys
from pathlib import Path

import torch

from flows.registry.read import read_registry
from genai_core.models.artifact import build_model, save_model
from tests.flows.conftest import shell
from tests.models.tiny import SHAPE, gan_recipe

PIPELINE = """
artifacts:
  candidate: {path: models/candidate, type: model}
stages:
  candidate:
    cmd: python tasks/candidate.py
    deps: [data/raw, tasks]
    params: [selection]
    outs: [models/candidate]
"""

CANDIDATE = """
import json, shutil
from pathlib import Path

figure = float(Path("params.yaml").read_text().split("figure:")[1])
out = Path("models/candidate")
shutil.copytree("data/raw", out)
chosen = {"family": "gan", "metric": "fd", "figures": {"fd": figure}, "reason": f"fd is {figure:g}"}
chosen["sampling"] = {"truncation": 1.0}
(out / "selection.json").write_text(json.dumps(chosen))
"""


def new_home(folder: Path) -> Path:
    """The repository, nothing made yet."""
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "tasks").mkdir()
    torch.manual_seed(0)
    recipe = gan_recipe()
    save_model(folder / "data/raw", build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary={})
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "tasks" / "candidate.py").write_text(CANDIDATE)
    (folder / "params.yaml").write_text("selection:\n  figure: 3.0\n")
    (folder / ".gitignore").write_text(".genai/\n/data/raw\n/models/\n")
    shell(folder, "git init -q -b main && dvc init -q && dvc config core.autostage false && dvc add -q data/raw")
    return folder


def make(home: Path, figure: float) -> str:
    """Run the pipeline with another figure, commit, and return the commit."""
    (home / "params.yaml").write_text(f"selection:\n  figure: {figure}\n")
    shell(home, f"dvc repro -q && git add -A && git commit -q -m 'fd {figure}'")
    return shell(home, "git rev-parse HEAD").strip()


def at_commit(home: Path, revision: str) -> None:
    """Check out a revision and its data."""
    shell(home, f"git checkout -q {revision} && dvc checkout -q")


def production(home: Path) -> str | None:
    """The version in production."""
    move = read_registry(home).production()
    return move.version if move else None


def git_remote(home: Path) -> Path:
    """An empty repository beside it, as its origin."""
    bare = home.parent / "origin.git"
    shell(home, f"git init -q --bare -b main {bare} && git remote add origin {bare} && git push -q origin main")
    return bare


def remotes(home: Path) -> tuple[Path, Path]:
    """A git and a DVC remote on this disk."""
    storage = home.parent / "storage"
    shell(home, f"dvc remote add -q -d storage {storage} && git commit -q -a -m remote")
    return git_remote(home), storage


def hook(repository: Path, name: str, script: str) -> None:
    """A script that git runs in a repository (bare, or its .git)."""
    path = repository / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def python(home: Path, code: str) -> "subprocess.CompletedProcess[str]":
    """Run some Python with the project importable; its first argument is the home."""
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", code, str(home)], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
