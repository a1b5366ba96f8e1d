"""The objects between data and images, and their kinds."""

from dataclasses import dataclass
from typing import Any

from flows.dvc_lock import Item

BATCH = "samples/"
# What models and batches are made from. Not what only evaluates them (features, figures).
MATERIAL, EVALUATION_ONLY = ("data/", "models/", BATCH), ("data/reference", "models/extractor")


@dataclass(frozen=True)
class Node:
    """An object, its facts, and its neighbours: what it was made from, or what was made from it."""

    kind: str  # image, batch, model, dataset or data
    name: str
    facts: dict[str, Any]
    links: tuple["Node", ...] = ()

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind, "name": self.name, **self.facts, "links": [node.values() for node in self.links]}


def kind_of(item: Item) -> str:
    """The kind of an output: batch, model, data or dataset."""
    if item.path.startswith(BATCH):
        return "batch"
    return "model" if item.path.startswith("models/") else "data" if item.path == "data/raw" else "dataset"


def is_material(path: str) -> bool:
    """Whether models or batches are made from the output at this path."""
    return path.startswith(MATERIAL) and not path.startswith(EVALUATION_ONLY)
