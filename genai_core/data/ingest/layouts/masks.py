"""Masks beside images: images/1.jpg with masks/1.png, or 1.jpg with 1_mask.png."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_FOLDERS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "segmaps"),
    *("gt", "groundtruth", "groundtruths", "trimap", "trimaps", "matte", "mattes", "seg", "segs"),
    *("segmentationclass", "segmentationobject", "labelmap", "labelmaps"),
}
_IMAGE_FOLDERS = ("image", "images", "img", "imgs", "jpegimages")
_SHOWN_FOLDERS = 3
_KINDS = r"(masks?|seg|segmentation|gt|ground_?truth|labels?|labelids|trimap|matte|annotation)"
_SUFFIX = re.compile(rf"[ ._-]{_KINDS}([ ._-]?\d+)?$", re.IGNORECASE)
_FOLDER_SUFFIX = re.compile(rf"[ ._-]?{_KINDS}$", re.IGNORECASE)


@dataclass(frozen=True)
class Masks:
    """paths: the images that are masks of others. where: how they are named, to show."""

    paths: frozenset[str]
    where: str


def find_masks(images: Sequence[str]) -> Masks:
    """Find the images that are masks of other images.

    A folder is one of masks if its name says so, and if it is beside one called images, or if more than half of its
    images have a partner of the same name in a folder beside it, above it, or in the same place of a folder tree beside
    it. A file is a mask if its name is that of an image in the same folder with _mask, _seg, _gt ... after it.
    """
    of_masks = _mask_folders(images)
    folders, found = [], set()
    if of_masks:
        others = set(images).difference(*of_masks.values())
        places, folders_of_images = _places(others), _folders_of_images(others)
        for folder, own in of_masks.items():
            depth = folder.count("/")
            paired = sum(_without_mask_folders(_key(path, depth)) in places for path in own)
            if folder.rpartition("/")[0] in folders_of_images or 2 * paired > len(own):
                folders.append(folder)
                found.update(own)
    plain = {path.rpartition(".")[0] for path in images}
    suffixed = [path for path in images if path not in found and _unmasked(path.rpartition(".")[0]) in plain]
    where = [f"{folder}/" for folder in sorted(folders)[:_SHOWN_FOLDERS]]
    where += [f"{len(folders) - _SHOWN_FOLDERS:,} more folders"] if len(folders) > _SHOWN_FOLDERS else []
    where += [f"files named like {PurePosixPath(suffixed[0]).name}"] if suffixed else []
    return Masks(frozenset(found.union(suffixed)), ", ".join(where))


def _mask_folders(images: Sequence[str]) -> dict[str, list[str]]:
    """Return the images below each folder whose name is that of masks; the outermost such folder counts."""
    folders = {path.rpartition("/")[0] for path in images}
    siblings: dict[str, set[str]] = {}
    for folder in folders:
        parts = folder.split("/")
        for depth, name in enumerate(parts):
            siblings.setdefault("/".join(parts[:depth]), set()).add(name)
    of_masks = {folder: above for folder in folders if (above := _mask_folder(folder, siblings)) is not None}
    found: dict[str, list[str]] = {}
    for path in images if of_masks else ():
        if (above := of_masks.get(path.rpartition("/")[0])) is not None:
            found.setdefault(above, []).append(path)
    return found


def _mask_folder(folder: str, siblings: dict[str, set[str]]) -> str | None:
    parts = folder.split("/") if folder else []
    for depth, name in enumerate(parts):
        above = "/".join(parts[:depth])
        if _plain(name) in _FOLDERS:
            return "/".join(parts[: depth + 1])
        # train_masks beside train; not with_mask beside without_mask, which are classes of faces.
        rest = _FOLDER_SUFFIX.sub("", name)
        if rest != name and any(other != name and other in (rest, f"{rest}_images") for other in siblings[above]):
            return "/".join(parts[: depth + 1])
    return None


def _places(images: Iterable[str]) -> set[tuple[str, str, str]]:
    """Return where partners may be: an image's path with any one folder, or none, left open."""
    places = set()
    for path in images:
        for depth in range(path.count("/") + 1):
            places.add(_key(path, depth))
    return places


def _key(path: str, depth: int) -> tuple[str, str, str]:
    """Return the folders above and below the one at `depth`, and the name without ending and mask suffix."""
    *folders, name = path.split("/")
    stem = name.rpartition(".")[0]
    return "/".join(folders[:depth]), "/".join(folders[depth + 1 :]), _SUFFIX.sub("", stem)


def _without_mask_folders(key: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return the key without further folders of masks: annotations/trimaps/1.png belongs to images/1.jpg."""
    above, below, stem = key
    return above, "/".join(name for name in below.split("/") if _plain(name) not in _FOLDERS), stem


def _folders_of_images(images: Iterable[str]) -> set[str]:
    """Return the folders with images in a folder of theirs that is called images, or similarly."""
    found = set()
    for folder in {path.rpartition("/")[0] for path in images}:
        parts = folder.split("/")
        found |= {"/".join(parts[:depth]) for depth, name in enumerate(parts) if name.lower() in _IMAGE_FOLDERS}
    return found


def _plain(name: str) -> str:
    return re.sub(r"[ _-]", "", name.lower())


def _unmasked(stem: str) -> str | None:
    """Return the stem of the image that a mask of this stem belongs to; None if the name is not that of a mask."""
    match = _SUFFIX.search(stem)
    return stem[: match.start()] if match else None
