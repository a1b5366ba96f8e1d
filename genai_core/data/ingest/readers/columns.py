"""Find the columns for file, label, caption and split in a table, by their names."""

import re
from collections.abc import Sequence

FILE_COLUMNS = (
    *("file", "filename", "file_name", "file_path", "filepath", "path"),
    *("image", "image_file", "image_path", "image_name", "image_id", "img", "img_path", "name", "id", "key"),
)
LABEL_COLUMNS = ("label", "class", "category", "target", "label_name", "class_name", "cls", "labels", "fine_label", "y")
CAPTION_COLUMNS = (
    *("caption", "captions", "text", "texts", "prompt", "description", "sentence", "sentences", "alt_text"),
    *("blip_caption", "raw_caption", "title", "comment", "comments"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition")


def column_among(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the column whose name comes first in `known`, ignoring case, spaces and dashes."""
    by_name = {re.sub(r"[\s-]+", "_", column.strip().lower()): column for column in reversed(columns)}
    return next((by_name[name] for name in known if name in by_name), None)
