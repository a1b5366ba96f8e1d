"""The champion, production's model: its files for a retraining, and its dataset and figures."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.data.stores import Stores
from flows.dvc_lock import Item, lock_at
from flows.git import GitError, git
from flows.graph import open_repo
from flows.measuring.comparison import ComparisonError, model_of
from flows.registry.model_names import CONFIG_FILE
from flows.registry.read import Move
from flows.retraining import RetrainError
from flows.retraining.gate import label_accuracy
from flows.runs.checkout import Worktree
from flows.scratch import scratch_folder
from genai_core.image_size import ImageSize

_FOLDER = Path(".genai/champion")  # in the worktree
# The candidate's own figures. Those of the trained models may be older than a fine-tuning of production.
_FIGURES = "metrics/finetuned.json"
_SKIPPED = "images that it was not trained on"  # as in genai_core/data/dataset/seen.py


@dataclass(frozen=True)
class ChampionShape:
    """What the champion generates: the shape and classes of the dataset that it was trained on."""

    image_size: ImageSize
    channels: int
    classes: tuple[str, ...]
    train_images: int
    skipped_images: int = 0  # of these, those that it was not trained on, as its config.json says


def lay_out_champion(worktree: Worktree, version: str) -> Path:
    """Put a version's model below the worktree, as links into DVC's cache or fetched. Raises RetrainError."""
    folder = worktree.folder / _FOLDER / version
    shutil.rmtree(folder.parent, ignore_errors=True)
    try:
        return model_of(worktree.folder, version, folder)
    except ComparisonError as error:
        raise RetrainError(
            f"{error}. A retraining needs production's model to compare and fine-tune. Push it from where it was made "
            "(genai data push), or roll back to a version that is complete (genai rollback --to)"
        ) from None


def champion_shape(workspace: Path, production: Move | None) -> ChampionShape | None:
    """Read dataset.json of production's dataset; None if nothing is in production, or the dataset is gone."""
    lock = lock_at(workspace, production.commit) if production else None
    prepared = lock.output("data/prepared") if lock else None
    if lock is None or prepared is None:
        return None
    with open_repo(workspace) as repo, scratch_folder(workspace, "production") as folder:
        stores = Stores(repo)
        files = stores.listing(prepared.md5) or {}
        if "dataset.json" not in files or stores.lay_out(files, ["dataset.json"], folder):
            return None
        info = json.loads((folder / "dataset.json").read_text())
        skipped = _skipped_images(stores, lock.output("models/candidate"), folder)
    size, classes = ImageSize.from_json(info["image_size"]), tuple(info["classes"])
    return ChampionShape(size, info["channels"], classes, info["counts"].get("train", 0), skipped)


def _skipped_images(stores: Stores, model: Item | None, folder: Path) -> int:
    files = (stores.listing(model.md5) or {}) if model else {}
    if CONFIG_FILE not in files or stores.lay_out(files, [CONFIG_FILE], folder):
        return 0  # a model of which nothing is known: other messages say so
    summary = json.loads((folder / CONFIG_FILE).read_text()).get("training_summary", {})
    return int(summary.get(_SKIPPED, 0))


def champion_label_accuracy(folder: Path, production: Move | None) -> float | None:
    """Test accuracy of the classifier that measured production, from the figures in production's commit.

    None: nothing is in production, its extractor was not a classifier, or its figures are unknown.
    """
    if production is None:
        return None
    try:
        figures = json.loads(git(folder, "show", f"{production.commit}:./{_FIGURES}"))
        return label_accuracy(figures["protocol"])
    except (GitError, ValueError, KeyError, TypeError, AttributeError):
        return None
