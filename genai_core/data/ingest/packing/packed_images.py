"""Find images and their captions by name in the packs of one data/raw/NAME."""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from genai_core.data.raw.captions import stem_of
from genai_core.data.raw.locations import Member
from genai_core.data.raw.pack_indexes import PackStamp, indexed_pack
from genai_core.data.raw.packs import Pack, is_pack


class PackedImages:
    """Images in the packs of a folder. folder: data/raw/NAME, which may not exist; indexes: folder of the pack indexes.

    The names are in a dict, because they are looked up one at a time while a source is read. A look-up among 60,000
    takes 6 us; with pyarrow.compute.index_in, which cannot keep its hash table, 15 ms (benchmarks/libraries.py).

    Raises ValueError for a damaged pack, because its contents are unknown.
    """

    def __init__(self, folder: Path, indexes: Path | None) -> None:
        self.packs: dict[str, Pack] = {}
        self.stamps: dict[str, PackStamp] = {}
        self._folder = folder
        self._first_rows: list[int] = []
        self._rows: dict[str, int] = {}
        paths = sorted(path for path in folder.glob("*") if is_pack(f"{folder.name}/{path.name}"))
        self._files = [path.name for path in paths]
        total = 0
        for path in paths:
            pack, self.stamps[path.name] = indexed_pack(path, indexes)
            if pack.damage is not None:
                raise ValueError(
                    f"{path}: {pack.damage}; nothing was changed; restore the pack (dvc checkout), or remove it"
                )
            self.packs[path.name] = pack
            self._first_rows.append(total)
            total += len(pack.names)
        # The last pack wins when several contain captions of an image. Most packs contain none.
        self._captions: dict[str, str] = {}
        for pack in self.packs.values():
            self._captions.update(zip(map(stem_of, pack.texts.names), pack.texts.captions, strict=True))
        # The first pack wins when several contain a name, so enter the last one first.
        for first, pack in zip(reversed(self._first_rows), reversed(self.packs.values()), strict=True):
            self._rows.update(zip(pack.names, range(first, first + len(pack.names)), strict=True))

    def find(self, name: str) -> Member | None:
        """Look up an image. name: CLASS/file or file."""
        row = self._rows.get(name)
        if row is None:
            return None
        number = bisect_right(self._first_rows, row) - 1
        file = self._files[number]
        pack = self.packs[file]
        at = row - self._first_rows[number]
        return Member(str(self._folder / file), int(pack.offsets[at]), int(pack.sizes[at]), name)

    @property
    def has_texts(self) -> bool:
        return bool(self._captions)

    def captions(self, stem: str) -> str:
        """Return the captions of the images with this stem, one per line, "" without any."""
        return self._captions.get(stem, "")

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)
