"""Whether a mirrored image still shows what images of this dataset show."""

import re
from collections.abc import Collection

from genai_core.advice.facts import DataFacts

# How often a classifier may tell an image from its mirror image: by chance it is right in half of the cases. Measured
# with tasks/look.py on 320 images: photographs of clothes 0.55 to 0.59, emoji 0.64, tiles of a game 0.69,
# Fashion-MNIST, whose shoes all point to the left, 0.79, digits 0.91.
SAFE_ACCURACY = 0.62
_WORD = re.compile(r"[a-z]+")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SYMBOLS = {"digit", "letter", "char", "character", "text", "font", "glyph", "alphabet", "word", "number", "sign"}
_DIRECTIONS = {"left", "right"}


def is_writing(classes: Collection[str]) -> bool:
    """Whether class names are those of symbols: single characters, numbers, or words such as "letter_a"."""
    names = [name.strip().lower() for name in classes]
    if not names:
        return False
    symbols = sum(len(name) == 1 or name.isdigit() or name in _NUMBERS for name in names)
    return symbols > len(names) / 2 or any(
        word.removesuffix("s") in _SYMBOLS | _DIRECTIONS for name in names for word in _WORD.findall(name)
    )


def mirroring(data: DataFacts) -> tuple[bool, str]:
    """Return whether training images may be mirrored, and why. In doubt they may not."""
    if is_writing(data.classes):
        return False, "not mirrored: the classes' names are those of symbols, or of directions"
    accuracy = data.mirrored_accuracy
    if accuracy is None:
        return False, "not mirrored: too few images to tell whether that changes what they show"
    share = f"a classifier tells {accuracy:.0%} of mirrored images from originals"
    if accuracy > SAFE_ACCURACY:
        return False, f"not mirrored: {share}"
    return True, f"mirrored: {share}, which is chance"
