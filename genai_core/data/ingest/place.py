"""Images on their way into data/raw: written beside it, compared with what is there, moved in together at the end."""

import filecmp
import io
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from genai_core.data.dataset import Split
from genai_core.data.facts import Pixels
from genai_core.data.ingest.png import encode_png
from genai_core.data.source_json import SOURCE_FILE, Origin, read_note


class Placer:
    """Gathers new files in `staging`, which lies on the same file system as `into`, until move_in."""

    def __init__(self, into: Path, staging: Path) -> None:
        self._into = into
        self._staging = staging
        self._new: list[str] = []
        self._made: set[Path] = set()
        self.kept_images = 0

    @property
    def new_images(self) -> int:
        return sum(not path.endswith(f"/{SOURCE_FILE}") for path in self._new)

    def place(self, path: str, content: Path | bytes | Pixels) -> None:
        """Take one image; path: below `into`, NAME/... Raises ValueError when another one has its place."""
        target = self._into / path
        if os.path.lexists(target):
            if not _is_same(target, content):
                name = path.split("/", 1)[0]
                raise ValueError(
                    f"{target} is there with other content, nothing was added; to keep both, add the source under "
                    f"another name: --as {name.removesuffix('.train').removesuffix('.test')}-2"
                )
            self.kept_images += 1
            return
        place = self._staging / path
        self._make_folder(place.parent)
        try:
            if isinstance(content, Path):
                if place.exists():
                    raise FileExistsError(place)
                shutil.copyfile(content, place)
            else:
                with place.open("xb") as file:
                    file.write(content if isinstance(content, bytes) else encode_png(content))
        except FileExistsError:
            raise ValueError(f"two images of the source would be {path}, nothing was added; rename one") from None
        self._new.append(path)

    def note(self, name: str, split: Split | None, origin: Origin | None) -> None:
        """What source.json is to say of the folder NAME. Raises ValueError when older images would change sides."""
        folder = self._into / name
        old = read_note(folder)
        if split is not None and folder.is_dir() and old.split != split:
            raise ValueError(
                f"{folder} is there, and its {SOURCE_FILE} does not say that it is for {split}; nothing was added; add "
                f"the source under another name: --as {name.removesuffix(f'.{split}')}-2"
            )
        new = old if split is None else type(old)(split, old.origins)
        if origin is not None:
            new = new.with_origin(origin)
        if new == old:
            return
        self._make_folder(self._staging / name)
        (self._staging / name / SOURCE_FILE).write_text(new.to_json(), encoding="utf-8")
        self._new.insert(0, f"{name}/{SOURCE_FILE}")

    def move_in(self) -> None:
        """Move all to their places; when that fails in the middle, it is as it was before."""
        self._into.mkdir(parents=True, exist_ok=True)
        done: list[tuple[Path, bytes | None]] = []  # a file that was moved, and what it replaced
        whole: list[Path] = []
        try:
            for name in sorted({path.split("/", 1)[0] for path in self._new}):
                if not (self._into / name).exists():
                    os.rename(self._staging / name, self._into / name)  # at once, with its source.json
                    whole.append(self._into / name)
                    continue
                for path in self._new:
                    if path.startswith(f"{name}/"):
                        place = self._into / path
                        place.parent.mkdir(parents=True, exist_ok=True)
                        before = place.read_bytes() if place.name == SOURCE_FILE and place.exists() else None
                        os.replace(self._staging / path, place)
                        done.append((place, before))
        except BaseException:
            for folder in whole:
                shutil.rmtree(folder)
            for place, before in done:
                if before is None:
                    place.unlink()
                else:
                    place.write_bytes(before)
            raise

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add(folder)


def _is_same(target: Path, content: Path | bytes | Pixels) -> bool:
    """Whether what is to be placed is there already: the same bytes or, for pixels, the same pixels."""
    if not target.is_file():
        return False
    if isinstance(content, Path):
        return filecmp.cmp(content, target, shallow=False)
    there = target.read_bytes()
    if isinstance(content, bytes):
        return there == content
    if there == encode_png(content):
        return True
    # Another version of zlib packs the same pixels into other bytes.
    try:
        with Image.open(io.BytesIO(there), formats=["PNG"]) as image:
            return np.array_equal(np.asarray(image).reshape(content.shape), content)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
