"""Batches generated from production (flows/registry/sample_production.py): not in git, described by provenance.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.registry.production import BATCHES


@dataclass(frozen=True)
class ProductionBatch:
    """A batch's folder, and what its provenance.json says."""

    folder: Path
    says: dict[str, Any]

    @property
    def weights(self) -> str:
        return str(self.says["model"]["sha256"])

    @property
    def commit(self) -> str:
        """The commit of the version that generated it."""
        return str(self.says["production"]["commit"])

    def images(self) -> Any:
        """The manifest, one row per image."""
        import pandas as pd

        return pd.read_parquet(self.folder / "manifest.parquet")

    def facts(self) -> dict[str, Any]:
        """The facts that lineage shows."""
        return {
            "drawn_from": self.says["production"]["version"],
            "drawn_at": self.says["production"]["made_at"],
            "images": self.says["images"],
            "first_seed": self.says["seed"],
            "sampling": self.says["sampling"],
            "model": self.weights,
            "trained_on": self.says["dataset"],
        }


def drawn_batches(workspace: Path) -> list[ProductionBatch]:
    """All batches below samples/production."""
    found = (drawn_batch(path.parent) for path in sorted((workspace / BATCHES).glob("*/provenance.json")))
    return [batch for batch in found if batch is not None]


def batch_around(file: Path) -> ProductionBatch | None:
    """The batch that contains an image or an archive, also if it was moved."""
    return next((batch for folder in list(file.resolve().parents)[:2] if (batch := drawn_batch(folder))), None)


def drawn_batch(folder: Path) -> ProductionBatch | None:
    """The batch in a folder; None if there is no batch of production."""
    try:
        says = json.loads((folder / "provenance.json").read_text())
        is_drawn = says["production"]["commit"] and (folder / "manifest.parquet").is_file()
        return ProductionBatch(folder, says) if is_drawn else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
