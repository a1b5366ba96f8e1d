"""Decide what the texts beside images are: their class names, or captions that describe single images."""

from collections.abc import Sequence

# A longer text is a caption, or the coordinates of a box.
_MAX_LABEL_WORDS = 4
_MAX_LABEL_CHARACTERS = 64
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


def fits_label(text: str) -> bool:
    """Whether a text is short enough for a class name."""
    return 0 < len(text) <= _MAX_LABEL_CHARACTERS and len(text.split()) <= _MAX_LABEL_WORDS and "\n" not in text


def lines_of(text: str) -> tuple[str, ...]:
    """Return the captions in a text, one per line, as text-to-image datasets store several per image."""
    return tuple(line for raw in text.split("\n") if (line := " ".join(raw.split())))
