"""Find the arrays of images and of labels among named arrays (NumPy, HDF5), by the words in their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.items import split_in

IMAGE_WORDS = ("images", "image", "x", "data", "imgs", "pixels")
LABEL_WORDS = ("labels", "label", "y", "targets", "target", "classes", "class", "ans")  # ans: Galaxy10
_SEPARATORS = re.compile(r"[-._/]")


@dataclass(frozen=True)
class Pair:
    """Indices of an array of images and of its labels. rest: the other words of the name, such as "train"."""

    images: int
    labels: int | None
    rest: str
    split: Split | None


def paired(names: Sequence[str], shown: Sequence[str]) -> list[Pair]:
    """Pair images with labels: x_train with y_train, test_images with test_labels, images with labels.

    A single array without a known word holds images. Empty if no name says images. shown: the arrays in messages, with
    their files. Raises ValueError when two arrays are labels of the same images, or images with the same labels.
    """
    parts = [parts_of(name) for name in names]
    if len(names) == 1 and parts[0][0] is None:
        parts = [("images", names[0])]
    elif sorted(names) == ["arr_0", "arr_1"]:  # np.savez(file, images, labels)
        parts = [("images" if name == "arr_0" else "labels", "") for name in names]
    found: list[Pair] = []
    for index, (kind, rest) in enumerate(parts):
        if kind != "images":
            continue
        labels = [other for other, part in enumerate(parts) if part == ("labels", rest)]
        if len(labels) > 1:
            raise ValueError(f"{shown[labels[0]]} and {shown[labels[1]]}: two arrays of labels; keep one")
        other = next((pair.images for pair in found if labels and pair.labels == labels[0]), None)
        if other is not None:
            raise ValueError(
                f"{shown[other]} and {shown[index]}: the labels {shown[labels[0]]} can belong to either; keep each "
                "array of images in one file with its labels"
            )
        found.append(Pair(index, labels[0] if labels else None, rest, split_in(names[index])))
    return found


def parts_of(name: str) -> tuple[str | None, str]:
    """Split a name: ("images", "train") for x_train; (None, name) without a known word.

    Of several known words the last decides: image_labels_train are labels, class_images images. "data" decides only
    alone, because a group may have this name: data/labels, labels/data.
    """
    words = [word for word in _SEPARATORS.split(name) if word]
    known = [word for word in words if word.lower() in (*IMAGE_WORDS, *LABEL_WORDS)]
    if not known:
        return None, name
    last = next((word for word in reversed(known) if word.lower() != "data"), "data")
    kind = "labels" if last.lower() in LABEL_WORDS else "images"
    return kind, "-".join(word for word in words if word not in known)


def no_images(listed: str) -> str:
    """Return the message for arrays of which none can be the images."""
    return (
        f"no array has a name for images; expected one of {', '.join(IMAGE_WORDS)} "
        f"(and train, test or val, as in x_train), got {listed}"
    )
