"""Import new images into data/raw: pack them next to it, compare with existing ones, move all in at the end."""

import filecmp
import io
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Pixels
from genai_core.data.ingest.packing.pack_writer import PackWriter, next_number
from genai_core.data.ingest.packing.packed_images import PackedImages
from genai_core.data.ingest.packing.png import encode_png
from genai_core.data.raw.caption_files import read_caption_file
from genai_core.data.raw.captions import caption_name, is_caption_name, stem_of
from genai_core.data.raw.locations import Member, PackReader
from genai_core.data.raw.pack_indexes import part_hashes, remember_pack
from genai_core.data.raw.packs import read_pack
from genai_core.data.raw.source_json import SOURCE_FILE, Origin, read_note


class Importer:
    """Collect new images as packs in `staging`, on the same file system as `into`, until `commit`.

    indexes: folder of the pack indexes (pack_indexes.py). Always close it.
    """

    def __init__(self, into: Path, staging: Path, indexes: Path | None = None) -> None:
        self._into = into
        self._staging = staging
        self.indexes = indexes
        self._existing: dict[str, PackedImages] = {}
        self._writers: dict[str, PackWriter] = {}
        self._added: set[str] = set()
        self._texts: dict[str, str] = {}  # NAME/CLASS/stem -> the captions written now
        # Only where there are captions: NAME -> stem -> image, and NAME -> stem -> loose text.
        self._stems: dict[str, dict[str, str]] = {}
        self._loose: dict[str, dict[str, Path]] = {}
        self._notes: list[str] = []
        self._reader = PackReader()
        self.kept_images = 0
        self.changed_captions = 0  # of kept images

    @property
    def new_images(self) -> int:
        return len(self._added)

    def add(self, path: str, content: Path | bytes | Pixels, captions: str = "") -> None:
        """Add one image; path: below `into`, NAME/... Raises ValueError when another image has this path.

        captions: one per line. They replace those of an image that is already there; "" keeps them.
        """
        name, _, file = path.partition("/")
        target = self._into / path
        existing = self._packed(name).find(file)
        if existing is not None or os.path.lexists(target):
            if not (_is_same(target, content) if existing is None else self._is_packed(existing, content)):
                raise ValueError(
                    f"{target} exists with other content; nothing was added; to keep both, add the source under "
                    f"another name: --as {name.removesuffix('.train').removesuffix('.test')}-2"
                )
            self.kept_images += 1
            if (text := self._new_text(name, file, captions)) is not None:
                self._writer(name).add(*text)
                self.changed_captions += 1
            return
        if path in self._added:
            raise ValueError(f"two images of the source would become {path}; nothing was added; rename one")
        text = self._new_text(name, file, captions)
        self._writer(name).add(file, content if isinstance(content, (bytes, Path)) else encode_png(content), text)
        self._added.add(path)

    def write_note(self, name: str, split: Split | None, origin: Origin | None) -> None:
        """Write source.json of the folder NAME. Raises ValueError when existing images would change splits."""
        folder = self._into / name
        old = read_note(folder)
        if split is not None and folder.is_dir() and old.split != split:
            raise ValueError(
                f"{folder} exists, and its {SOURCE_FILE} does not assign it to {split}; nothing was added; add the "
                f"source under another name: --as {name.removesuffix(f'.{split}')}-2"
            )
        new = old if split is None else type(old)(split, old.origins)
        if origin is not None:
            new = new.with_origin(origin)
        if new == old:
            return
        (self._staging / name).mkdir(parents=True, exist_ok=True)
        (self._staging / name / SOURCE_FILE).write_text(new.to_json(), encoding="utf-8")
        self._notes.append(f"{name}/{SOURCE_FILE}")

    def commit(self) -> None:
        """Move everything into data/raw; undo all moves if one fails."""
        packs = [f"{name}/{pack}" for name, writer in self._writers.items() for pack in writer.finish()]
        new = [*self._notes, *packs]
        self._into.mkdir(parents=True, exist_ok=True)
        done: list[tuple[Path, bytes | None]] = []  # moved files, and what they replaced
        new_folders: list[Path] = []
        try:
            for name in sorted({path.split("/", 1)[0] for path in new}):
                if not (self._into / name).exists():
                    os.rename(self._staging / name, self._into / name)  # atomic, including source.json
                    new_folders.append(self._into / name)
                    continue
                for path in new:
                    if path.startswith(f"{name}/"):
                        target = self._into / path
                        before = target.read_bytes() if target.name == SOURCE_FILE and target.exists() else None
                        os.replace(self._staging / path, target)
                        done.append((target, before))
        except BaseException:
            for folder in new_folders:
                shutil.rmtree(folder)
            for target, before in done:
                if before is None:
                    target.unlink()
                else:
                    target.write_bytes(before)
            raise
        if self.indexes is not None:
            with suppress(OSError):  # all images are there; missing indexes are rebuilt when needed
                for path in packs:
                    pack = self._into / path
                    remember_pack(pack, read_pack(pack), part_hashes(pack), self.indexes)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._reader.close()

    def _packed(self, name: str) -> PackedImages:
        if name not in self._existing:
            self._existing[name] = PackedImages(self._into / name, self.indexes)
        return self._existing[name]

    def _writer(self, name: str) -> PackWriter:
        if name not in self._writers:
            first_number = next_number(self._packed(name).packs)
            self._writers[name] = PackWriter(self._staging / name, first_number=first_number)
        return self._writers[name]

    def _new_text(self, name: str, file: str, captions: str) -> tuple[str, bytes] | None:
        """Return name and bytes of the text to write for an image, None if there is none or it is already there.

        Raises ValueError when the text would change the captions of another image, or a loose text has others.
        """
        packed = self._packed(name)
        if not captions and not packed.has_texts and name not in self._stems:
            return None
        if name not in self._stems:
            added = (path.partition("/")[2] for path in self._added if path.startswith(f"{name}/"))
            self._stems[name] = {stem_of(image): image for image in (*packed, *added)}
            folder = self._into / name
            texts = (path for path in folder.rglob("*") if is_caption_name(path.name))
            self._loose[name] = {stem_of(str(path.relative_to(folder))): path for path in texts}
        stem = stem_of(file)
        first = self._stems[name].setdefault(stem, file)
        loose = self._loose[name].get(stem)
        known = self._texts.get(f"{name}/{stem}")
        if known is None:
            known = packed.captions(stem) if loose is None else read_caption_file(loose).text
        if captions == known or (not captions and first == file):
            return None
        if first != file:
            raise ValueError(
                f"{first} and {file} would share the captions in {caption_name(file)}, but have different ones; "
                "nothing was added; rename one"
            )
        if loose is not None:
            raise ValueError(f"{loose} has other captions than the source; nothing was added; edit or delete it first")
        self._texts[f"{name}/{stem}"] = captions
        return caption_name(file), f"{captions}\n".encode()

    def _is_packed(self, member: Member, content: Path | bytes | Pixels) -> bool:
        if isinstance(content, Path):
            return content.stat().st_size == member.size and content.read_bytes() == self._reader.read(member)
        return _is_same_content(self._reader.read(member), content)


def _is_same(target: Path, content: Path | bytes | Pixels) -> bool:
    """Whether `target` has the same content: equal bytes or, for pixels, equal pixels."""
    if not target.is_file():
        return False
    if isinstance(content, Path):
        return filecmp.cmp(content, target, shallow=False)
    return _is_same_content(target.read_bytes(), content)


def _is_same_content(existing: bytes, content: bytes | Pixels) -> bool:
    if isinstance(content, bytes):
        return existing == content
    if existing == encode_png(content):
        return True
    # Another version of zlib compresses the same pixels into other bytes.
    try:
        with Image.open(io.BytesIO(existing), formats=["PNG"]) as image:
            return np.array_equal(np.asarray(image).reshape(content.shape), content)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
