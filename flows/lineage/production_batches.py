"""Batches generated outside the pipeline: from production, or by `genai generate`. Not in git.

Each has a provenance.json. flows/registry/sample_production.py and flows/registry/generate.py write them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.registry.production import BATCHES


@dataclass(frozen=True)
class ProductionBatch:
    """A batch's folder, and the content of its provenance.json."""

    folder: Path
    provenance: dict[str, Any]

    @property
    def weights(self) -> str:
        return str(self.provenance["model"]["sha256"])

    @property
    def commit(self) -> str | None:
        """The commit of the version that generated it; None for a model that was only in a folder."""
        commit = self._origin["commit"]
        return None if commit is None else str(commit)

    @property
    def _origin(self) -> dict[str, Any]:
        origin: dict[str, Any] = self.provenance.get("production") or self.provenance["drawn"]
        return origin

    def images(self) -> Any:
        """The manifest, one row per image."""
        import pandas as pd

        return pd.read_parquet(self.folder / "manifest.parquet")

    def facts(self) -> dict[str, Any]:
        """The facts that lineage shows."""
        return {
            "drawn_from": self._origin["version"] or self._origin["model"],
            "drawn_at": self._origin["made_at"],
            "drawn_with_code": self._origin["code"],
            "images": self.provenance["images"],
            "first_seed": self.provenance["seed"],
            "sampling": self.provenance["sampling"],
            "model": self.weights,
            "trained_on": self.provenance["dataset"],
        }


def production_batches(workspace: Path) -> list[ProductionBatch]:
    """All batches below samples/production."""
    found = (production_batch(path.parent) for path in sorted((workspace / BATCHES).glob("*/provenance.json")))
    return [batch for batch in found if batch is not None]


def batch_around(file: Path) -> ProductionBatch | None:
    """The batch that contains an image or an archive, even if the batch was moved."""
    return next((batch for folder in list(file.resolve().parents)[:2] if (batch := production_batch(folder))), None)


def production_batch(folder: Path) -> ProductionBatch | None:
    """The batch in a folder; None if the folder has no complete batch of these kinds."""
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        origin = provenance.get("production") or provenance["drawn"]
        is_complete = {"commit", "version", "made_at"} <= origin.keys() and (folder / "manifest.parquet").is_file()
        return ProductionBatch(folder, provenance) if is_complete else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
