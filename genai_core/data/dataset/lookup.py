"""Look up an image in a dataset by its pixels or its source, from the small files alone, without reading shards."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genai_core.data.dataset.dataset import CAPTIONS


@dataclass(frozen=True)
class Sighting:
    """A dataset row that matches the image; `reason`: why the image was rejected, with the image that replaces it."""

    split: str
    source: str
    by: str  # "pixels" or "source"
    reason: str = ""
    captions: tuple[str, ...] = ()


def look_up(folder: Path, source: str, digest: bytes | None) -> list[Sighting]:
    """Return the rows that match an image in a dataset. folder: holds its manifest.parquet, rejected.csv and facts/.

    source: its name below the raw data. digest: sha256 of its pixels as decoded for this dataset, None if the file is
    not available. An image rejected as a duplicate counts as found through the equal image that was kept. Raises
    FileNotFoundError when a file is missing.
    """
    manifest = pd.read_parquet(folder / "manifest.parquet")
    found = [_sighting(row, "source") for row in manifest[manifest["source"] == source].itertuples()]
    if digest is not None:
        wanted = np.frombuffer(digest, dtype=np.uint8)
        for shard, rows in manifest.groupby("shard", sort=False):
            facts = np.load(folder / "facts" / str(shard), allow_pickle=False)
            same = np.flatnonzero((facts["sha256"] == wanted).all(axis=1))
            for row in rows[rows["row"].isin(same)].itertuples():
                if all(sighting.source != row.source for sighting in found):
                    found.append(_sighting(row, "pixels"))
    return found or _through_duplicates(folder, manifest, source)


def _sighting(row: Any, by: str) -> Sighting:
    captions = getattr(row, CAPTIONS, None)
    return Sighting(str(row.split), str(row.source), by, captions=() if captions is None else tuple(captions))


def _through_duplicates(folder: Path, manifest: pd.DataFrame, source: str) -> list[Sighting]:
    with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
        rejected = [row for row in csv.DictReader(file) if row["source"] == source]
    found = []
    for row in rejected:
        kept = manifest[manifest["source"] == row["detail"].removeprefix("of ")]
        split = str(kept["split"].iloc[0]) if row["reason"] in ("duplicate", "in_test") and len(kept) else ""
        found.append(Sighting(split, source, "source", f"rejected: {row['reason']} {row['detail']}".rstrip()))
    return found
