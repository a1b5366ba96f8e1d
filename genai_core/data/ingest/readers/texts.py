"""Decide what the texts beside images are: their class names, or captions that describe single images."""

import re
from collections.abc import Sequence

from genai_core.counted import counted

# A longer text is a caption, or the coordinates of a box.
_MAX_LABEL_WORDS = 4
_MAX_LABEL_CHARACTERS = 64
# A class number and a box, or a polygon, as YOLO writes them: 3 0.51 0.4 0.2 0.31
# Each number can be read in one way only: texts of a megabyte that nearly match would take minutes otherwise.
_BOX = re.compile(r"\d+(\s+-?(?:\d+(?:\.\d+)?|\.\d+)(?:e-?\d+)?){4,}")
# In so few texts, repeated values say nothing.
_FEW_TEXTS = 10


def are_captions(texts: Sequence[str]) -> bool:
    """Whether texts are captions. Otherwise few values repeat, and they are labels.

    They are captions if most of them are longer than a class name (four words, 64 characters, one line), or if most
    of them differ from each other. Fewer than ten texts must also consist of several words.
    """
    count = len(texts)
    if 2 * sum(not fits_label(text) for text in texts) > count:
        return True
    if count < _FEW_TEXTS and 2 * sum(len(text.split()) > 1 for text in texts) <= count:
        return False
    return 2 * len(set(texts)) > count


def are_boxes(text: str) -> bool:
    """Whether a text only has boxes of objects in it, which are neither a label nor a caption of the image."""
    lines = text.split("\n")
    return bool(text) and all(_BOX.fullmatch(line.strip().lower()) for line in lines if line.strip())


def boxes_note(count: int) -> str:
    return f"note: {counted(count, 'file')} with boxes of objects (YOLO, LabelMe): they are no classes of the images"


def fits_label(text: str) -> bool:
    """Whether a text is short enough for a class name."""
    return 0 < len(text) <= _MAX_LABEL_CHARACTERS and len(text.split()) <= _MAX_LABEL_WORDS and "\n" not in text


def lines_of(text: str) -> tuple[str, ...]:
    """Return the captions in a text, one per line, as text-to-image datasets store several per image."""
    return tuple(line for raw in text.split("\n") if (line := " ".join(raw.split())))
