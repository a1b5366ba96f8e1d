"""Find the image that an annotation file names."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"#\d+$")  # of a caption: 1.jpg#0, 1.jpg#1


class Finder:
    """Find images by the names in an annotation file.

    A name is a path from the file's folder, from the source's folder, or from a wrapper folder below it; with or
    without ending. A part of the path is enough if only one image has it: folder/file, else file.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self._paths = set(images)
        self._ends: dict[str, str | None] = {}  # None: several images
        for image in images:
            stem = image.rpartition(".")[0]
            folders, _, name = image.rpartition("/")
            above = folders.rpartition("/")[2]
            short_stem = stem.rpartition("/")[2]
            for end in {name, short_stem, f"{above}/{name}", f"{above}/{short_stem}", stem}:
                self._ends[end] = image if self._ends.get(end, image) == image else None

    def find(self, name: str, folder: str = "") -> str | None:
        """Return the path of the image; folder: that of the annotation file, "" for the source's."""
        if not name:
            return None
        path = _NUMBER.sub("", name.replace("\\", "/").removeprefix("./"))
        if folder:
            nearer = f"{folder}/{path}"
            if nearer in self._paths:
                return nearer
            if (image := self._ends.get(nearer)) is not None:
                return image
        if path in self._paths:
            return path
        if ".." in path.split("/"):
            return None
        parts = path.rsplit("/", 2)
        for end in ("/".join(parts[-2:]), parts[-1]):
            if end in self._ends:
                return self._ends[end]
        return None
