"""Find the image that an annotation file names."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.convert.kinds import is_source_image
from genai_core.data.ingest.readers.items import split_in

_NUMBER = re.compile(r"#\d+$")  # of a caption: 1.jpg#0, 1.jpg#1


class Finder:
    """Find images by the names in an annotation file.

    A name is a path from the file's folder, from the source's folder, or from a wrapper folder below it; with or
    without ending. A part of the path is enough if only one image has it, or one in the folders of the file's split
    (trainLabels.csv names 1, and there are train/1.png and test/1.png): folder/file, else file.
    loosely: capitals, the ways to write an accent, and the endings of images may differ; equal names then are none.
    """

    def __init__(self, images: Sequence[str], *, loosely: bool = False) -> None:
        self._originals: dict[str, str] | None = None
        if loosely:
            forms = Counter(map(_loose, images))
            self._originals = {form: image for image in images if forms[form := _loose(image)] == 1}
            images = [*self._originals]
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
        path = _path(name)
        return self._near(path, folder, split)[0] or self._by_file_name(path, split)

    def find_all(self, names: Sequence[str], folder: str = "", split: Split | None = None) -> list[str | None]:
        """Return the path of the image of each name in one file.

        The file name alone is enough only if the folders are not known here: then they are those of another machine. If
        a name of the file was found by its folder, others in another folder are images that are not here. Of several
        names for one image, the first counts, the closest ones before.
        """
        if self._originals is None:
            return self._find_all(names, folder, split)
        found = self._find_all([_loose(_path(name)) for name in names], _folded(folder), split)
        return [None if image is None else self._originals[image] for image in found]

    def _find_all(self, names: Sequence[str], folder: str, split: Split | None) -> list[str | None]:
        paths = [_path(name) for name in names]
        near = [self._near(path, folder, split) for path in paths]
        has_folders = any(image is not None and "/" in path for path, (image, _) in zip(paths, near, strict=True))
        is_beside = bool(folder) and any(image is not None for image, _ in near)
        found = []
        for path, (image, is_exact) in zip(paths, near, strict=True):
            rank = 0 if is_exact else 1
            if image is None and (end := self._by_file_name(path, split)) is not None:
                in_folder = not is_beside or end.startswith(f"{folder}/")
                if in_folder if "/" not in path else not has_folders and not _contradict(path, end):
                    image, rank = end, 2
            found.append((rank, image))
        taken: dict[str, str] = {}
        for _, row in sorted((rank, row) for row, (rank, image) in enumerate(found) if image is not None):
            taken.setdefault(found[row][1] or "", paths[row])
        return [
            image if image is not None and taken[image] == path else None
            for path, (_, image) in zip(paths, found, strict=True)
        ]

    def _near(self, path: str, folder: str, split: Split | None) -> tuple[str | None, bool]:
        """Return the image with this path or with this folder and file name; whether the whole path is the same."""
        if folder and path:
            nearer = f"{folder}/{path}"
            if nearer in self._paths:
                return nearer, True
            if (image := self._only(nearer, split)) is not None:
                return image, False
        if path in self._paths:
            return path, True
        end = "/".join(path.rsplit("/", 2)[-2:])
        return (self._only(end, split) if "/" in path and ".." not in path.split("/") else None), False

    def _by_file_name(self, path: str, split: Split | None) -> str | None:
        if ".." in path.split("/") or ("/" in path and "/".join(path.rsplit("/", 2)[-2:]) in self._ends):
            return None
        return self._only(path.rpartition("/")[2], split)

    def _only(self, end: str, split: Split | None) -> str | None:
        found = self._ends.get(end)
        if isinstance(found, list):
            found = [image for image in found if split and split in map(split_in, image.split("/")[:-1])]
            return found[0] if len(found) == 1 else None
        return found


def _path(name: str) -> str:
    return _NUMBER.sub("", name.replace("\\", "/").removeprefix("./"))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _loose(name: str) -> str:
    return _folded(f"{name.rpartition('.')[0]}.image" if is_source_image(name) else name)


def _contradict(path: str, image: str) -> bool:
    """Whether a path names other folders of this source than the image's: train/1.jpg, but test/1.jpg."""
    named, real = path.split("/")[:-1], image.split("/")[:-1]
    if named[-1] not in real and not set(named).isdisjoint(real):
        return True  # img/a/1.jpg, but img/b/1.jpg
    splits = [{split_in(folder) for folder in folders} - {None} for folders in (named, real)]
    return bool(splits[0] and splits[1] and splits[0].isdisjoint(splits[1]))
