"""The teacher of a few-step model: the model that it was made from. Nothing continues a few-step model itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.stores import Stores
from flows.dvc_lock import Item, lock_at
from flows.graph import open_repo
from flows.registry.model_names import CONFIG_FILE, WEIGHTS_FILE, NamedModel, lay_out_commit

_SELECTED, _BASE = "models/selected", "models/base"  # where a fine-tuning finds the model that it continues


@dataclass(frozen=True)
class Teacher:
    """A model that a few-step model was made from.

    title: for people. commit: whose prepared dataset it was trained on; None: as the record in its folder says.
    """

    folder: Path
    title: str
    commit: str | None


def teacher_weights(model: Path) -> str | None:
    """Return the sha256 of the weights that a few-step model was made from; None for any other model."""
    values = _config((model / CONFIG_FILE).read_bytes())
    few_step = values.get("few_step")
    return str(few_step["teacher"]) if isinstance(few_step, dict) else None


def can_be_teacher(model: Path) -> bool:
    """Whether a few-step model can be made from a model that is none itself: only from a diffusion model."""
    return _config((model / CONFIG_FILE).read_bytes()).get("family") == "diffusion"


def find_teacher(workspace: Path, named: NamedModel, weights: str) -> Teacher | None:
    """Find the model with these weights where the few-step model `named` was made; None if it is not there.

    For a commit, among what its dvc.lock and models/base.dvc name; else among the models of this workspace. Raises
    ModelNameError, RemoteError, ProductionError.
    """
    title = f"the teacher of {named.title}"
    if named.commit is None:
        places = [workspace / _SELECTED, workspace / _BASE, *sorted((workspace / "models/trained").glob("*"))]
        folder = next((place for place in places if _has_weights(_read(place / CONFIG_FILE), weights)), None)
        return Teacher(folder.resolve(), title, None) if folder else None
    lock = lock_at(workspace, named.commit)
    for path in (_SELECTED, _BASE):
        item = lock.find(path)
        if item is not None and _has_weights(_stored_config(workspace, item), weights):
            folder = lay_out_commit(workspace, named.commit, named.version, [path]) / path
            # What was selected was trained on the commit's data; a base on older ones, which its own record names.
            return Teacher(folder, title, named.commit if path == _SELECTED else None)
    return None


def _stored_config(workspace: Path, model: Item) -> bytes:
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        oid = (stores.listing(model.md5) or {}).get(CONFIG_FILE)
        return (stores.read(oid) if oid else None) or b""


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _has_weights(config: bytes, weights: str) -> bool:
    sha256 = _config(config).get("sha256")
    return isinstance(sha256, dict) and sha256.get(WEIGHTS_FILE) == weights


def _config(content: bytes) -> dict[str, Any]:
    """Return what a model's config.json says; nothing if it is damaged."""
    try:
        values = json.loads(content)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
