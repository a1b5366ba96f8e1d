"""The outputs of a model's version that questions about it need: its extractor, its real images, their reference."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc_lock import Lock, lock_at, lock_here
from flows.git import GitError
from flows.registry.model_names import ModelFiles, lay_out_commit
from flows.registry.production import DATASET, EXTRACTOR

REFERENCE, AUGMENTED = "data/reference", "data/augmented"
# By what the worker calls them.
OUTPUTS = {"extractor": EXTRACTOR, "dataset": DATASET, "reference": REFERENCE}


@dataclass(frozen=True)
class RealData:
    """Where the outputs are, and how the stage `prepare` decoded images: the values `fit` and `background`.

    fingerprint: of the dataset, when they are in the workspace, where they may change; None in a commit.
    """

    workspace: Path
    files: ModelFiles
    decoding: Mapping[str, Any]
    fingerprint: str | None

    def folders(self) -> dict[str, str]:
        """Return the folder of each of OUTPUTS; from DVC's cache or remote, for a version. May take a while.

        Raises ProductionError, RemoteError.
        """
        place = self.workspace
        if self.files.commit is not None:
            place = lay_out_commit(self.workspace, self.files.commit, self.files.version, tuple(OUTPUTS.values()))
        return {name: str((place / path).resolve()) for name, path in OUTPUTS.items()}


def find_real_data(workspace: Path, files: ModelFiles) -> RealData | None:
    """Find the outputs that belong to a model, without reading their contents; None if there are none."""
    try:
        lock = lock_here(workspace) if files.commit is None else lock_at(workspace, files.commit)
    except GitError:
        return None
    decoding = _decoding(lock)
    if decoding is None:
        return None
    if files.commit is not None:
        is_locked = all(lock.output(path) is not None for path in OUTPUTS.values())
        return RealData(workspace, files, decoding, None) if is_locked else None
    if not _are_here(workspace, files):
        return None
    return RealData(workspace, files, decoding, _fingerprint(workspace / DATASET))


def _are_here(workspace: Path, files: ModelFiles) -> bool:
    """Whether the workspace has the outputs, and the model was trained on these real images, as they are or augmented.

    A folder from elsewhere, or older than the data, has other training images than these.
    """
    if not all((workspace / path).is_dir() for path in OUTPUTS.values()):
        return False
    trained_on = _json(files.folder / "config.json").get("dataset")
    here = [_fingerprint(workspace / path) for path in (DATASET, AUGMENTED)]
    return trained_on is not None and trained_on in here


def _decoding(lock: Lock) -> dict[str, Any] | None:
    maker = lock.maker(DATASET)
    data = {} if maker is None else maker.params.get("data")
    if not isinstance(data, dict) or not {"fit", "background"} <= data.keys():
        return None
    return {"fit": data["fit"], "background": data["background"]}


def _fingerprint(dataset: Path) -> str | None:
    return _json(dataset / "dataset.json").get("fingerprint")


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
