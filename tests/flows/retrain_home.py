"""A repository with a toy pipeline for tests of retrainings, with the real git, DVC, registry and Prefect."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.flows.conftest import ROOT, genai, set_parameter, shell
from tests.flows.toy_home import TOY
from tests.project import change_parameters


def new_home(folder: Path) -> Path:
    """The repository with twenty images of two classes committed, and nothing made or promoted."""
    shutil.copytree(TOY / "retraining" / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOY / "retraining" / "pipeline.yaml", folder / "dvc.yaml")
    shutil.copy(ROOT / "params.yaml", folder)
    change_parameters(folder, _one_model)
    ignored = "/data/raw", "/data/prepared", "/samples/", "/reports/"
    models = (f"/models/{name}" for name in ("base", "candidate", "extractor", "finetuned", "selected", "trained"))
    (folder / ".gitignore").write_text("\n".join([".genai/", "__pycache__/", *ignored, *models, ""]))
    shell(folder, "git init -q -b main && dvc init -q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    put(folder, "first", 20)
    track(folder)
    return folder


def promoted_home(folder: Path, server: str) -> Path:
    """The repository after a retraining that trained and promoted its first model."""
    home = new_home(folder / "home")
    status, said = retrain(home, api_url=server)
    assert status == 0, said
    assert "nothing is in production yet" in said
    assert started(home) == ["prepare", "train@gan", "select", "finetune", "candidate", "generate", "report"]
    return home


def put(home: Path, name: str, count: int, text: str = "good", classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Images into data/raw, not tracked yet."""
    for number in range(count):
        path = home / "data/raw" / classes[number % len(classes)] / f"{name}-{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text} {name} {number}")


def track(home: Path, *, commit: bool = True) -> None:
    shell(home, "dvc add -q data/raw")
    if commit:
        shell(home, "git add -A && git commit -q -m data")


def retrain(home: Path, *options: str, toy: dict[str, float | str] | None = None, **others: Any) -> tuple[int, str]:
    """`genai retrain` to its end: exit status, and what it printed."""
    answer = genai(home, "retrain", *options, **{**variables(home, toy), **others})
    return answer.returncode, answer.stdout + answer.stderr


def variables(home: Path, toy: dict[str, float | str] | None = None) -> dict[str, Any]:
    return {"toy": toy or {}, "DIARY": str(home.parent / "diary"), "timeout": 180.0}


def started(home: Path) -> list[str]:
    """The stages that were started since the last call, in any checkout."""
    diary = home.parent / "diary"
    lines = diary.read_text().split() if diary.exists() else []
    diary.unlink(missing_ok=True)
    return lines


def last(home: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((home / ".genai/retrain/last.json").read_text())
    return values


def setting(home: Path, key: str, value: object) -> None:
    """A parameter, committed."""
    set_parameter(home, key, value)
    shell(home, "git commit -q -a -m parameters")


def _one_model(values: Any) -> None:
    values["models"] = {"gan": values["models"]["gan"]}
