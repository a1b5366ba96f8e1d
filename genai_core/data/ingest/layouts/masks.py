"""Masks beside images: images/1.jpg with masks/1.png, or 1.jpg with 1_mask.png."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from genai_core.data.ingest.choices import AskError
from genai_core.data.ingest.readers.items import WORDS, split_of

_FOLDERS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "segmaps"),
    *("gt", "groundtruth", "groundtruths", "trimap", "trimaps", "matte", "mattes", "seg", "segs"),
    *("segmentationclass", "segmentationobject", "labelmap", "labelmaps", "gtfine", "gtcoarse"),
}
_MASK_WORDS = (
    "mask",
    "masks",
    "anno",
    "annotation",
    "annotations",
    "segmentation",
    "segmentations",
    "trimap",
    "trimaps",
)
_IMAGE_FOLDERS = ("image", "images", "img", "imgs", "jpegimages", "leftimg8bit")
_IMAGE_WORDS = {
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "frame", "frames", "scan", "scans"),
    *("input", "inputs", "original", "originals", "rgb", "raw", "data"),
}
# With these, folders count as they are called, or as tables name them.
_CHOSEN_LAYOUTS = ("class-folders", "leaf-folders", "table")
_SHOWN_FOLDERS = 3
_KINDS = r"(masks?|seg|segmentation|gt|ground_?truth|labels?|labelids|trimap|matte|annotation)"
_SUFFIX = re.compile(rf"[ ._-]{_KINDS}([ ._-]?\d+)?$", re.IGNORECASE)
_FOLDER_SUFFIX = re.compile(rf"[ ._-]?{_KINDS}$", re.IGNORECASE)


@dataclass(frozen=True)
class Masks:
    """paths: the images that are masks of others. where: how they are named, to show."""

    paths: frozenset[str]
    where: str


def find_masks(images: Sequence[str], layout: str | None = None) -> Masks:
    """Find the images that are masks of other images.

    A folder is one of masks if its name says so, and if it is beside one called images, or if more than half of its
    images have a partner of the same name in a folder beside it, above it, or in the same place of a folder tree beside
    it. A file is a mask if its name is that of an image in the same folder with _mask, _seg, _gt ... after it.

    mask/1.jpg beside no_mask/1.jpg may be a class of its own: if no folder beside it is called images, train or
    similarly, it is one with a chosen layout of class folders or tables (layout), else this raises AskError.
    """
    of_masks = _mask_folders(images)
    folders, found = [], set()
    if of_masks:
        others = set(images).difference(*of_masks.values())
        places, folders_of_images, contents = _places(others), _folders_of_images(others), _contents(others)
        for folder, own in of_masks.items():
            depth = folder.count("/")
            paired = sum(_without_mask_folders(_key(path, depth)) in places for path in own)
            above = folder.rpartition("/")[0]
            if above not in folders_of_images:
                may_be_class = _may_be_class(own, contents.get(above, ()))
                if 2 * paired <= len(own) or (may_be_class and layout in _CHOSEN_LAYOUTS):
                    continue
                if may_be_class and layout is None:
                    raise AskError(
                        f"{folder}/ may be a class, or masks of the images with the same names beside it; choose "
                        "--layout class-folders (a class) or --layout flat (masks, which are left out, and no classes)"
                    )
            folders.append(folder)
            found.update(own)
    plain = {path.rpartition(".")[0] for path in images}
    suffixed = [path for path in images if path not in found and _unmasked(path.rpartition(".")[0]) in plain]
    where = [f"{folder}/" for folder in sorted(folders)[:_SHOWN_FOLDERS]]
    where += [f"{len(folders) - _SHOWN_FOLDERS:,} more folders"] if len(folders) > _SHOWN_FOLDERS else []
    where += [f"files named like {PurePosixPath(suffixed[0]).name}"] if suffixed else []
    return Masks(frozenset(found.union(suffixed)), ", ".join(where))


def is_mask_name(path: str) -> bool:
    """Whether an image's name alone says that it is a mask: 1.seg.png, 1_mask.png."""
    return _unmasked(path.rpartition(".")[0]) is not None


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
        if _plain(name) in _FOLDERS or _is_of_masks(name, siblings[above]):
            return "/".join(parts[: depth + 1])
        # train_masks beside train; not with_mask beside without_mask, which are classes of faces.
        rest = _FOLDER_SUFFIX.sub("", name)
        if rest != name and any(other != name and other in (rest, f"{rest}_images") for other in siblings[above]):
            return "/".join(parts[: depth + 1])
    return None


def _is_of_masks(name: str, beside: Iterable[str]) -> bool:
    """Whether a folder has a word of masks in its name, and one beside it a word of images: CelebAMask-HQ-mask-anno."""
    return _has(name, _MASK_WORDS) and not _has(name, _IMAGE_FOLDERS) and any(map(_is_only_of_images, beside))


def _is_only_of_images(name: str) -> bool:
    return _has(name, _IMAGE_FOLDERS) and not _has(name, _MASK_WORDS)


def _has(name: str, words: Iterable[str]) -> bool:
    return not {word.lower() for word in WORDS.findall(name)}.isdisjoint(words)


def _may_be_class(own: Iterable[str], beside: Collection[str]) -> bool:
    """Whether a folder of masks, by its name, may be a class: nothing else in names says what is image, what mask."""
    is_clear = (
        "" in beside or any(map(_is_of_images, beside)) or any(_unmasked(path.rpartition(".")[0]) for path in own)
    )
    return bool(beside) and not is_clear


def _contents(images: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of the folders with images in each folder, and "" if it has images itself."""
    found: dict[str, set[str]] = {}
    for folder in {path.rpartition("/")[0] for path in images}:
        found.setdefault(folder, set()).add("")
        while folder:
            folder, _, name = folder.rpartition("/")
            found.setdefault(folder, set()).add(name)
    return found


def _is_of_images(name: str) -> bool:
    words = {name.lower(), *map(str.lower, WORDS.findall(name))}
    return _plain(name) in _IMAGE_FOLDERS or not words.isdisjoint(_IMAGE_WORDS) or any(map(split_of, words))


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
        found |= {"/".join(parts[:depth]) for depth, name in enumerate(parts) if _is_only_of_images(name)}
    return found


def _plain(name: str) -> str:
    return re.sub(r"[ _-]", "", name.lower())


def _unmasked(stem: str) -> str | None:
    """Return the stem of the image that a mask of this stem belongs to; None if the name is not that of a mask."""
    match = _SUFFIX.search(stem)
    return stem[: match.start()] if match else None
