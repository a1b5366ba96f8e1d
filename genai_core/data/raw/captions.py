"""Captions of raw images: a UTF-8 text with the image's stem, CLASS/a.txt for CLASS/a.png, one caption per line.

WebDataset and the training folders of text-to-image models have this form. An image without a text, or with an empty
one, has no caption.
"""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.name_column import Names

CAPTION_EXTENSION = ".txt"
# Text encoders read some hundred words at most. A longer text describes more than one image.
MAX_CAPTION_CHARACTERS = 4_096
MAX_TEXT_BYTES = 64 << 10  # of all captions of one image
# Texts beside images may also be class numbers, or boxes as YOLO writes them.
_NUMBERS = re.compile(r"[\d\s.,:;+-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Captions(NamedTuple):
    """Captions of one image, one per line, "" if there are none; fault: why some were left out, or None."""

    text: str
    fault: str | None = None


NO_CAPTIONS = Captions("")


def is_caption_name(path: str) -> bool:
    return path.lower().endswith(CAPTION_EXTENSION)


def stem_of(path: str) -> str:
    """Return the path without its extension: an image and its captions have the same."""
    return os.path.splitext(path)[0]  # noqa: PTH122 - a tenth of the time of Path


def caption_name(image: str) -> str:
    """Return the path of an image's captions."""
    return stem_of(image) + CAPTION_EXTENSION


def clean_captions(captions: Iterable[str]) -> Captions:
    """Return the usable captions, each once: control characters and runs of white space become one space.

    Numbers alone are no caption.
    A caption that is longer than MAX_CAPTION_CHARACTERS, or cannot be written as UTF-8, is left out; so is what exceeds
    MAX_TEXT_BYTES in all.
    """
    kept: dict[str, None] = {}
    fault = None
    size = 0
    for caption in captions:
        text = " ".join(_CONTROL.sub(" ", caption).split())
        if _NUMBERS.fullmatch(text) or text in kept:
            continue
        try:
            size_of_text = len(text.encode()) + 1
        except UnicodeEncodeError:
            fault = fault or "a caption is not valid Unicode"
            continue
        if len(text) > MAX_CAPTION_CHARACTERS:
            fault = fault or f"a caption of {len(text):,} characters; at most {MAX_CAPTION_CHARACTERS:,}"
        elif size + size_of_text > MAX_TEXT_BYTES:
            fault = fault or f"more than {MAX_TEXT_BYTES:,} bytes of captions"
        else:
            kept[text] = None
            size += size_of_text
    return Captions("\n".join(kept), fault)


def parse_captions(content: bytes) -> Captions:
    """Return the captions in a text file."""
    if len(content) > MAX_TEXT_BYTES:
        return Captions("", f"more than {MAX_TEXT_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Captions("", "not UTF-8")
    # Not str.splitlines, which also splits at U+2028, form feeds and others.
    return clean_captions(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def match_texts(images: Names, texts: Names) -> Indices:
    """Return for each image (N,) the index of the last text with its stem, or -1. texts: by rising precedence."""
    # index_in returns the first of several equal values.
    found = pc.index_in(_stems(images), value_set=_stems(texts)[::-1])
    last = len(texts) - 1
    return np.where(found.is_valid(), last - pc.fill_null(found, 0).to_numpy(), -1).astype(np.int64)


def _stems(names: Names) -> pa.LargeStringArray:
    return pc.replace_substring_regex(names.column, r"\.[^./]*$", "")
