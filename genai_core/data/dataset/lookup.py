"""Look up an image in a dataset by its pixels or its source, from the small files alone, without reading shards."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genai_core.data.dataset.dataset import CAPTIONS, NO_LABEL
from genai_core.data.dataset.seen import image_key


@dataclass(frozen=True)
class Sighting:
    """A dataset row that matches the image; `reason`: why the image was rejected, with the image that replaces it.

    key: of the image that is in the dataset, by which models name those that they skipped (seen.py); "" if none is.
    """

    split: str
    source: str
    by: str  # "pixels" or "source"
    key: str
    reason: str = ""
    captions: tuple[str, ...] = ()


def look_up(folder: Path, source: str, digest: bytes | None) -> list[Sighting]:
    """Return the rows that match an image in a dataset. folder: holds its manifest.parquet, rejected.csv and facts/.

    source: its name below the raw data. digest: sha256 of its pixels as decoded for this dataset, None if the file is
    not available. An image rejected as a duplicate counts as found through the equal image that was kept. Raises
    FileNotFoundError when a file is missing.
    """
    manifest = pd.read_parquet(folder / "manifest.parquet")
    found = [_sighting(folder, row, "source") for row in manifest[manifest["source"] == source].itertuples()]
    if digest is not None:
        wanted = np.frombuffer(digest, dtype=np.uint8)
        for shard, rows in manifest.groupby("shard", sort=False):
            facts = np.load(folder / "facts" / str(shard), allow_pickle=False)
            same = np.flatnonzero((facts["sha256"] == wanted).all(axis=1))
            for row in rows[rows["row"].isin(same)].itertuples():
                if all(sighting.source != row.source for sighting in found):
                    found.append(_sighting(folder, row, "pixels"))
    return found or _through_duplicates(folder, manifest, source)


def _sighting(folder: Path, row: Any, by: str) -> Sighting:
    captions = getattr(row, CAPTIONS, None)
    captions = () if captions is None else tuple(captions)
    return Sighting(str(row.split), str(row.source), by, _key(folder, row), captions=captions)


def _key(folder: Path, row: Any) -> str:
    image_id = row.id
    if not image_id:  # stored as empty, if it is the start of the pixels' hash
        image_id = np.load(folder / "facts" / row.shard, allow_pickle=False)["sha256"][row.row].tobytes().hex()
    classes = json.loads((folder / "dataset.json").read_text())["classes"]
    return image_key(image_id, "" if row.label == NO_LABEL else classes[row.label]).decode()


def _through_duplicates(folder: Path, manifest: pd.DataFrame, source: str) -> list[Sighting]:
    with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
        rejected = [row for row in csv.DictReader(file) if row["source"] == source]
    found = []
    for row in rejected:
        kept = manifest[manifest["source"] == row["detail"].removeprefix("of ")]
        place, key = ("", "")
        if row["reason"] in ("duplicate", "in_test") and len(kept):
            original = next(kept.itertuples())
            place, key = str(original.split), _key(folder, original)
        found.append(Sighting(place, source, "source", key, f"rejected: {row['reason']} {row['detail']}".rstrip()))
    return found
