"""Number of images in data/raw, from the indexes of its packs: no image is read."""

from pathlib import Path

from genai_core.data.raw.pack_indexes import indexed_pack
from genai_core.data.raw.packs import is_pack
from genai_core.data.raw.rules import find_images


def count_raw_images(raw: Path, indexes: Path | None = None) -> int:
    """Count loose files and the images in packs. A damaged pack counts as none, as in `find_raw_images`.

    indexes: folder of the pack indexes; without it each pack's headers are read. Raises NotADirectoryError or OSError.
    """
    try:
        found = find_images(raw, is_pack)
    except ValueError:  # no image is left
        return 0
    packs = (indexed_pack(raw / path, indexes)[0] for path in found.packs)
    return len(found.files) + sum(len(pack.names) for pack in packs if pack.damage is None)
