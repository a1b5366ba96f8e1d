"""The classes of raw images, as the folders that they lie in say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.rules import class_of, sorted_runs


@dataclass(frozen=True)
class Classes:
    """The class that each file's path says: codes (N,) into names, -1 without one."""

    codes: Indices
    names: tuple[str, ...]

    def of(self, row: int) -> str:
        return self.names[int(self.codes[row])]


def classes_of(names: Sequence[str]) -> Classes:
    """names: sorted."""
    codes = np.full(len(names), -1, dtype=np.int64)
    known: dict[str, int] = {}
    for begin, end in sorted_runs(names, 2):
        if (name := class_of(names[begin])) is not None:
            codes[begin:end] = known.setdefault(name, len(known))
    return Classes(codes, tuple(known))


def check_all_or_none_labelled(raw: Path, files: Sequence[str], classes: Classes) -> None:
    without = np.flatnonzero(classes.codes < 0)
    if 0 < len(without) < len(files):
        raise ValueError(
            f"{raw}: {len(files) - len(without):,} images lie in class folders (NAME/CLASS/file), {len(without):,} "
            f"do not, first {files[without[0]]}; give all of them a class folder, or none"
        )
