"""Find the models that were trained on an image, in every dataset version of git's history: for removal requests."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flows.dvc_lock import Item
from flows.lineage.ancestry import History
from flows.lineage.image_file import LineageError
from flows.lineage.node import Node
from flows.lineage.stage_run import StageRun
from flows.lineage.trace import Lineage
from flows.process import run_module

Nodes = dict[tuple[str, str], Node]  # by name and hash

PREPARED = "data/prepared"
UNSEEN = "unseen.npy"  # as in genai_core/data/dataset/seen.py
# The small files of each version. Private; safe to delete.
INDEX_CACHE = Path(".genai/cache/lineage")
_INDEX_FILES = ("dataset.json", "manifest.parquet", "rejected.csv", "decoders.json")


@dataclass(frozen=True)
class SeenIn:
    """A version of the prepared dataset, and the image's entries in it; None if its data is missing.

    note: why the image may be in the version although it was not found.
    """

    dataset: Node
    found: list[dict[str, Any]] | None
    note: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the image's entries in the train split."""
        return frozenset(entry["key"] for entry in self.found or [] if entry["split"] == "train")

    @property
    def trained(self) -> bool:
        return bool(self.keys)


@dataclass(frozen=True)
class Sightings:
    """All searched dataset versions, and the models and batches made from those with the image.

    skipped: models of such a version that were not trained on the image, as their own record says.
    """

    datasets: tuple[SeenIn, ...]
    models: tuple[Node, ...]
    skipped: tuple[Node, ...]
    batches: tuple[Node, ...]

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "datasets": [{**_short(seen.dataset), "found": seen.found, "note": seen.note} for seen in self.datasets],
            "models": [_short(model) for model in self.models],
            "skipped": [_short(model) for model in self.skipped],
            "batches": [_short(batch) for batch in self.batches],
        }


def sightings(workspace: Path, history: History, lineage: Lineage, image: str) -> Sightings:
    """Look up `image`, a file or a name below data/raw, in every version of the prepared dataset.

    Only the train split counts as training. An image that was rejected as a duplicate counts if its original is in that
    split. Raises LineageError if there is no version, or the file is not an image.
    """
    versions = dict(history.outputs(PREPARED))
    if not versions:
        raise LineageError(f"no commit and no workspace dvc.lock has {PREPARED}; run `genai run` to make it")
    folders = {item: folder for item, run in versions.items() if (folder := _index(workspace, history, item, run))}
    found = dict(zip(folders, _look_up(workspace, image, list(folders.values())), strict=True))
    seen = tuple(SeenIn(lineage.made_of(item), **found.get(item, {"found": None})) for item in versions)
    reached: dict[tuple[str, str], Node] = {}
    unaware: dict[tuple[str, str], Node] = {}
    for item, entry in zip(versions, seen, strict=True):
        if entry.trained:
            _collect(lineage.became(item), partial(_skipped, history, entry.keys), reached, unaware)
    batches = tuple(node for node in reached.values() if node.kind == "batch")
    return Sightings(seen, _models(reached), _models(unaware), batches)


def _collect(
    node: Node, skipped: Callable[[Node], bool], found: Nodes, unaware: Nodes, *, through_unaware: bool = False
) -> None:
    """Add what was made from a node to `found`, and models that skipped the image to `unaware`.

    through_unaware: the node is one of those, or was made from one, so that nothing of it has to do with the image.
    """
    for link in node.links:
        place = link.name, str(link.facts.get("md5", ""))
        is_unaware = skipped(link)
        if is_unaware:
            unaware[place] = link
        elif not through_unaware:
            found[place] = link
        _collect(link, skipped, found, unaware, through_unaware=is_unaware or through_unaware)


def _skipped(history: History, keys: frozenset[str], node: Node) -> bool:
    """Whether a model says itself that it was trained on none of these images, though its dataset has them."""
    files = history.stores.files(str(node.facts.get("md5", ""))) if node.kind == "model" else None
    content = history.stores.read(files[UNSEEN]) if files and UNSEEN in files else None
    if content is None:
        return False
    return keys <= {key.decode() for key in np.load(io.BytesIO(content), allow_pickle=False).tolist()}


def _models(nodes: Nodes) -> tuple[Node, ...]:
    """The models among them, each once. Of copies, such as the next fine-tuning's base, the one with a version."""
    models = [node for node in nodes.values() if node.kind == "model"]
    models.sort(key=lambda node: bool(node.facts.get("versions")))
    return tuple({str(node.facts.get("weights")): node for node in models}.values())


def _index(workspace: Path, history: History, item: Item, run: StageRun) -> Path | None:
    """A folder with the small files of a dataset version; None if neither cache nor remote has them."""
    folder = workspace / INDEX_CACHE / item.md5.removesuffix(".dir")
    if (folder / "rule.json").is_file():
        return folder
    files = history.stores.files(item.md5)
    if files is None:
        return None
    wanted = {name: md5 for name, md5 in files.items() if name in _INDEX_FILES or name.startswith("facts/")}
    contents = {name: history.stores.read(md5) for name, md5 in wanted.items()}
    if None in contents.values():
        return None
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or b"")
    # Last: its presence means that the others are complete.
    (folder / "rule.json").write_text(json.dumps(run.stage.params["data"]))
    return folder


def _look_up(workspace: Path, image: str, folders: list[Path]) -> list[dict[str, Any]]:
    """SeenIn's `found` and `note` for each folder."""
    if not folders:
        return []
    lines: list[str] = []
    path = str(Path(image).resolve()) if Path(image).is_file() else image
    command = ["tasks.saw", path, *map(str, folders)]
    status = run_module(command, folder=workspace, on_line=lines.append)
    if status != 0:
        shutil.rmtree(workspace / INDEX_CACHE, ignore_errors=True)  # it may be damaged: rebuild it next time
        raise LineageError("\n".join(lines[-3:]) or f"tasks.saw failed with status {status}")
    return [json.loads(line) for line in lines]


def _short(node: Node) -> dict[str, Any]:
    return {"name": node.name, **node.facts}
