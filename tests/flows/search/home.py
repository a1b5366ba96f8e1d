"""A repository with a toy pipeline for tests of searches, with the real git, DVC, Optuna and Prefect."""

import shutil
from pathlib import Path
from typing import Any

from tests.flows.conftest import ROOT, genai, shell
from tests.flows.toy_home import TOY
from tests.project import change_parameters

RATE, WIDTH = "models.gan.training.learning_rate", "models.gan.network.width"
SPACE = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, WIDTH: {"choices": [16, 24, 32]}}
PRUNING = {"first_share": 0.1, "reduction": 3, "images": 10}


def new_home(folder: Path, **search: Any) -> Path:
    """A committed workspace in which nothing has run. search: changes of the section search."""
    shutil.copytree(TOY / "search" / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tasks" / "search_page.py", folder / "tasks")
    shutil.copy(TOY / "search" / "pipeline.yaml", folder / "dvc.yaml")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/image.txt").write_text("an image")

    def change(values: Any) -> None:
        values["models"] = {"gan": values["models"]["gan"]}
        values["search"].update({"space": SPACE, "pruning": None, **search})

    change_parameters(folder, change)
    ignored = "/data/raw", "/data/prepared", "/data/reference", "/models/*", "/plots/", "/search/"
    (folder / ".gitignore").write_text("\n".join([".genai/", "__pycache__/", *ignored, ""]))
    shell(folder, "git init -q -b main && dvc init -q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    shell(folder, "dvc add -q data/raw && git add -A && git commit -q -m toy")
    return folder


def search(home: Path, *options: str, api_url: str, **variables: str) -> tuple[int, str]:
    """`genai search` to its end: exit status, and what it printed."""
    answer = genai(
        home, "search", *options, api_url=api_url, timeout=240.0, DIARY=str(home.parent / "diary"), **variables
    )
    return answer.returncode, answer.stdout + answer.stderr


def started(home: Path, stage: str) -> int:
    """How often a stage has started."""
    return (home.parent / "diary").read_text().splitlines().count(stage)
