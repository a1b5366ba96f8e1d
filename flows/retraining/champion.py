"""Production's model in the retraining's checkout: beside it to compare with, or as data source to go on from."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from flows.data.add import run_task
from flows.data.stores import Stores
from flows.graph import open_repo
from flows.locked import CHAMPION_FILE, lock_at
from flows.measuring.comparison import ComparisonError, model_of
from flows.process import run_command
from flows.registry.read import Registry
from flows.retraining.source import RetrainError
from flows.runs.checkout import Worktree
from flows.scratch import scratch_folder

_PLACE = Path(".genai/champion")  # in the worktree


@dataclass(frozen=True)
class Shape:
    """What production draws: of the dataset that it was trained on."""

    image_size: int
    channels: int
    classes: tuple[str, ...]
    train_images: int


def lay_out_champion(tree: Worktree, version: str) -> Path:
    """The model of a version, below the worktree, as links into DVC's cache or fetched. Raises RetrainError."""
    folder = tree.folder / _PLACE / version
    shutil.rmtree(folder.parent, ignore_errors=True)
    try:
        return model_of(tree.folder, version, folder)
    except ComparisonError as error:
        raise RetrainError(
            f"{error}. Without production's model nothing can be compared or fine-tuned: bring it back "
            "(genai data pull where it was made), or roll back to a version that is whole (genai rollback --to)"
        ) from None


def go_on_from(tree: Worktree, champion: Path) -> None:
    """Make the model models/champion, tracked by DVC. Raises DataError or RetrainError."""
    run_task(tree.folder, "tasks.champion", str(champion))
    said: list[str] = []
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "add", CHAMPION_FILE.removesuffix(".dvc")]
    if run_command(command, folder=tree.folder, environment={"DVC_NO_ANALYTICS": "1"}, on_line=said.append) != 0:
        raise RetrainError("\n".join(["DVC could not track models/champion:", *said]))


def shape_of_production(workspace: Path, registry: Registry) -> Shape | None:
    """From dataset.json of what production was trained on; None where nothing is in production, or that is gone."""
    standing = registry.production()
    prepared = lock_at(workspace, standing.commit).output("data/prepared") if standing else None
    if prepared is None:
        return None
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        files = stores.listing(prepared.md5) or {}
        if "dataset.json" not in files:
            return None
        with scratch_folder(workspace, "production") as folder:
            if stores.lay_out(files, ["dataset.json"], folder):
                return None
            info = json.loads((folder / "dataset.json").read_text())
    return Shape(info["image_size"], info["channels"], tuple(info["classes"]), info["counts"].get("train", 0))
