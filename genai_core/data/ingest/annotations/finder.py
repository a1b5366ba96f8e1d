"""Find the image that an annotation file names."""

import re
from collections.abc import Sequence

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.items import split_in

_NUMBER = re.compile(r"#\d+$")  # of a caption: 1.jpg#0, 1.jpg#1


class Finder:
    """Find images by the names in an annotation file.

    A name is a path from the file's folder, from the source's folder, or from a wrapper folder below it; with or
    without ending. A part of the path is enough if only one image has it, or one in the folders of the file's split
    (trainLabels.csv names 1, and there are train/1.png and test/1.png): folder/file, else file.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self._paths = set(images)
        self._ends: dict[str, str | list[str]] = {}
        for image in images:
            stem = image.rpartition(".")[0]
            folders, _, name = image.rpartition("/")
            above = folders.rpartition("/")[2]
            short_stem = stem.rpartition("/")[2]
            for end in {name, short_stem, f"{above}/{name}", f"{above}/{short_stem}", stem}:
                known = self._ends.setdefault(end, image)
                if isinstance(known, list):
                    known.append(image)
                elif known != image:
                    self._ends[end] = [known, image]

    def find(self, name: str, folder: str = "", split: Split | None = None) -> str | None:
        """Return the path of the image. folder, split: those of the annotation file; "" for the source's folder."""
        if not name:
            return None
        path = _NUMBER.sub("", name.replace("\\", "/").removeprefix("./"))
        if folder:
            nearer = f"{folder}/{path}"
            if nearer in self._paths:
                return nearer
            if (image := self._only(nearer, split)) is not None:
                return image
        if path in self._paths:
            return path
        if ".." in path.split("/"):
            return None
        parts = path.rsplit("/", 2)
        for end in ("/".join(parts[-2:]), parts[-1]):
            if end in self._ends:
                return self._only(end, split)
        return None

    def _only(self, end: str, split: Split | None) -> str | None:
        found = self._ends.get(end)
        if isinstance(found, list):
            found = [image for image in found if split and split in map(split_in, image.split("/")[:-1])]
            return found[0] if len(found) == 1 else None
        return found
