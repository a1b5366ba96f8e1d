"""Files that say something of the images in a form that is not read: they may hold labels, so the user is asked."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from genai_core.data.ingest.annotations.table_files import MAX_JSON_BYTES, MOST_FILES, is_without_labels
from genai_core.data.ingest.listing import Listing

_TEXTS = (".json", ".xml", ".txt", ".lst", ".yaml", ".yml")  # tables.py judged CSV and the like
# Tables that only other programs read. Beside images they hold labels as a rule.
_TABLES = (".mat", ".xlsx", ".xls", ".ods")
_SAMPLED_IMAGES = 50
_LEAST_SHARE = 0.5  # of the sampled images
_FEWEST_LINES = 8  # in fewer, the number may be by chance
_SHORT = 4  # stems such as 12 are in any text


def unread_annotations(listing: Listing, images: Sequence[str], used: Collection[str]) -> str:
    """Return a sentence that names a file which may hold labels and is not read, with what to do; empty without one.

    used: files that were read. A text counts if it names at least half of the images, and says more than their names.
    """
    files = [path for path in listing.others if path not in used and not is_without_labels(path)]
    tables = [path for path in files if _ending(path) in _TABLES]
    texts = [path for path in files if _ending(path) in _TEXTS]
    found = tables if len(tables) <= MOST_FILES else []
    if not found and len(texts) <= MOST_FILES:
        step = max(1, len(images) // _SAMPLED_IMAGES)
        found = [path for path in texts if _names_images(listing, path, images[::step])]
        if not found and (of_lines := [path for path in texts if _has_a_line_each(listing, path, len(images))]):
            return (
                f"{of_lines[0]} has a line for each image and names none; if these are captions, write labels.csv with "
                "the columns file and caption, or choose --layout flat (without them)"
            )
    if not found:
        return ""
    how = "may hold labels" if found[0] in tables else "names the images"
    return (
        f"{found[0]} {how}, in a form that is not read; write the labels into labels.csv with the columns file and "
        "label, or choose --layout flat (no classes)"
    )


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _names_images(listing: Listing, path: str, images: Sequence[str]) -> bool:
    file = listing.root / path
    if file.stat().st_size > MAX_JSON_BYTES:
        return False
    text = file.read_text(encoding="utf-8", errors="replace")
    if _ending(path) not in (".json", ".xml") and not any(len(line.split()) > 1 for line in text.split("\n")):
        return False  # a list of names
    hits = 0
    for image in images:
        name = PurePosixPath(image)
        hits += _has_word(text, name.name) or (len(name.stem) > _SHORT and _has_word(text, name.stem))
    return hits >= _LEAST_SHARE * len(images)


def _has_a_line_each(listing: Listing, path: str, total_images: int) -> bool:
    """Whether a text has as many lines of several words as there are images: prompts.txt."""
    file = listing.root / path
    if _ending(path) != ".txt" or total_images < _FEWEST_LINES or file.stat().st_size > MAX_JSON_BYTES:
        return False
    lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
    return len(lines) == total_images and 2 * sum(len(words) > 1 for words in lines) > total_images


def _has_word(text: str, word: str) -> bool:
    at = text.find(word)  # many times faster than a regular expression
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not (before.isalnum() or after.isalnum() or after == "_" or before in ("_", "-")):
            return True
        at = text.find(word, at + 1)
    return False
