"""Classes in the names of files: cat.0.jpg, dog_001.jpg, Abyssinian_12.jpg."""

import re
from collections import Counter
from collections.abc import Sequence

_NAME = re.compile(r"(?P<word>[^\W\d_].*?)[ ._-]*\(?\d+\)?")
_LAST_NUMBER = re.compile(r"\d+")
_FEWEST_OF_A_WORD = 5
# What cameras, screens and programs put before a number.
_NO_CLASSES = {
    *("img", "image", "imgs", "images", "dsc", "dscn", "dscf", "pxl", "mvimg"),
    *("gopr", "dji", "wp", "mg", "sam", "cimg"),
    *("photo", "picture", "pic", "screenshot", "screen shot", "scan", "frame", "file", "sample", "untitled", "foto"),
    *("img-", "image-", "pano", "vid", "signal", "whatsapp image", "fb_img", "received", "thumb", "page"),
}


def name_label(name: str) -> str | None:
    """Return the word before the number in a file name; None if there is none, or one of a camera or a program."""
    match = _NAME.fullmatch(name.rpartition(".")[0])
    return match["word"] if match and match["word"].lower() not in _NO_CLASSES else None


def name_labels(names: Sequence[str]) -> Counter[str]:
    """Count the words before the numbers, if they may be classes: at least two, each with several images.

    Empty if they are not. Half of the names may have none, as a competition's test images.
    """
    counts = Counter(label for name in names if (label := name_label(name)) is not None)
    may_be_classes = len(counts) > 1 and min(counts.values()) > 1 and 2 * counts.total() >= len(names)
    return counts if may_be_classes else Counter()


def are_counted(names: Sequence[str], counts: Counter[str]) -> bool:
    """Whether the files of each word are numbered from 0 or 1 on, as somebody does who writes class by class.

    counts: what `name_labels` found. At least five of each word; names without one have none but a number.
    """
    numbers: dict[str, set[int]] = {}
    for name in names:
        stem = name.rpartition(".")[0]
        if (label := name_label(name)) is not None:
            numbers.setdefault(label, set()).add(int(_LAST_NUMBER.findall(stem)[-1]))
        elif not stem.isdecimal():
            return False
    return min(counts.values()) >= _FEWEST_OF_A_WORD and all(
        min(found) <= 1 and max(found) < 2 * len(found) for found in numbers.values()
    )
