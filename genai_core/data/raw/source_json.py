"""data/raw/NAME/source.json: the split and the origins of a source.

    {"schema_version": 1, "split": "test", "origins": [{"address": "https://...", "revision": "..."}]}

`split` assigns every image of this folder to training or to testing, as the source does. As it applies to the whole
folder, it costs the same for ten images and for ten million, stays valid while images are added or renamed, and can be
written by hand. A source with two splits is two folders, NAME.train and NAME.test. Without the file, or with null, an
image's content decides.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.dataset import SPLITS, Split
from genai_core.data.prepare.split import GIVEN, GivenSplits
from genai_core.data.raw.rules import sorted_runs

SOURCE_FILE = "source.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Origin:
    """Where images came from. address: without credentials; revision: the commit or the content's sha256."""

    address: str
    revision: str | None


@dataclass(frozen=True)
class SourceNote:
    split: Split | None = None
    origins: tuple[Origin, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == SourceNote()

    def with_origin(self, origin: Origin) -> "SourceNote":
        """Add an origin. Adding the same one again changes nothing, so that the data's version stays."""
        if origin in self.origins:
            return self
        return dataclasses.replace(self, origins=(*self.origins, origin))

    def to_json(self) -> str:
        return json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"


def read_note(folder: Path) -> SourceNote:
    """Read the note of a source, data/raw/NAME; empty if there is none. Raises ValueError when it is damaged."""
    path = folder / SOURCE_FILE
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return SourceNote()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); restore it with `dvc checkout {folder.parent}`") from None
    return _parsed(path, values)


def given_splits(raw: Path, files: Sequence[str]) -> GivenSplits:
    """Return the split that each file's source states (N,). files: relative to `raw`, sorted. Raises ValueError."""
    sides = np.full(len(files), GIVEN[None], dtype=np.int8)
    for begin, end in sorted_runs(files, 1):
        name, slash, _ = files[begin].partition("/")
        if slash:
            sides[begin:end] = GIVEN[read_note(raw / name).split]
    return sides


def _parsed(path: Path, values: Any) -> SourceNote:
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected an object with split and origins")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema_version {values.get('schema_version')}, this code reads {SCHEMA_VERSION}")
    unknown = sorted(set(values) - {"schema_version", "split", "origins"})
    if unknown:
        raise ValueError(f"{path}: unknown keys {', '.join(unknown)}; allowed are split and origins")
    split = values.get("split")
    if split is not None and split not in SPLITS:
        raise ValueError(f"{path}: split is {split!r}; allowed are {', '.join(SPLITS)} and null")
    try:
        origins = tuple(Origin(**origin) for origin in values.get("origins", []))
    except TypeError:
        raise ValueError(f"{path}: every origin needs an address and a revision") from None
    return SourceNote(split, origins)
