"""Numbers of images in data/raw, from the indexes of its packs: no image is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from genai_core.data.raw.name_column import Names
from genai_core.data.raw.pack_indexes import indexed_pack
from genai_core.data.raw.packs import is_pack
from genai_core.data.raw.rules import find_images


@dataclass(frozen=True)
class Labelled:
    """Numbers of images with and without a class, and the name of one of those without."""

    with_class: int
    without_class: int
    first_without: str | None


def count_raw_images(raw: Path, indexes: Path | None = None) -> int:
    """Count loose files and the images in packs. A damaged pack counts as none, as in `find_raw_images`.

    indexes: folder of the pack indexes; without it each pack's headers are read. Raises NotADirectoryError or OSError.
    """
    return sum(len(names) for names in _names(raw, indexes))


def count_labelled(raw: Path, indexes: Path | None = None) -> Labelled:
    """Count the images that have a class, NAME/CLASS/file, and those that have none. Arguments as above.

    prepare refuses a mixture (`check_all_or_none_labelled`).
    """
    total, with_class, first_without = 0, 0, None
    for names in _names(raw, indexes):
        depths = pc.count_substring(names.column, "/").to_numpy()
        without = np.flatnonzero(depths < 2)
        total += len(names)
        with_class += len(names) - len(without)
        if first_without is None and len(without):
            first_without = names[int(without[0])]
    return Labelled(with_class, total - with_class, first_without)


def _names(raw: Path, indexes: Path | None) -> Iterator[Names]:
    """Yield the names of the loose images, then of each pack's; none of a damaged one."""
    try:
        found = find_images(raw, is_pack)
    except ValueError:  # no image is left
        return
    yield Names.of(found.files)
    for path in found.packs:
        pack, _ = indexed_pack(raw / path, indexes)
        if pack.damage is None:
            yield pack.names.below(path.partition("/")[0])
