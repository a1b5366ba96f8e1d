"""Classes in the names of files: cat.0.jpg, dog_001.jpg, Abyssinian_12.jpg."""

import re
from collections import Counter
from collections.abc import Sequence

_NAME = re.compile(r"(?P<word>[^\W\d_].*?)[ ._-]*\(?\d+\)?")
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
