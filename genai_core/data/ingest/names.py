"""Names that become folders: of a source (data/raw/NAME) and of a class (data/raw/NAME/CLASS)."""

import os
import re
from pathlib import Path

from genai_core.data.ingest import builtin
from genai_core.data.ingest.archives import archive_stem, is_archive
from genai_core.data.raw.rules import is_bad_name, is_litter, printable

BUILTIN_PREFIX = "builtin:"
MAX_NAME_BYTES = 255  # of one part of a path, on every common file system
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Of files that hold a whole dataset: train-images-idx3-ubyte.gz is train.
_DATA_ENDINGS = re.compile(r"([-._]?images[-._]idx\d-ubyte)?(\.gz)?$|\.(npy|npz|parquet)$", re.IGNORECASE)


def default_name(source: str) -> str:
    """The name of a source that got none: its file's or folder's. Raises ValueError when none can be made of it."""
    if source.startswith(BUILTIN_PREFIX):
        name = source.removeprefix(BUILTIN_PREFIX)
        if name not in builtin.NAMES:
            raise ValueError(f"{source}: there is no such built-in dataset; there are: {builtin_names()}")
        return name
    path = Path(source).resolve()
    stem = archive_stem(path) if is_archive(path) else path.name if path.is_dir() else _DATA_ENDINGS.sub("", path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64]
    if not name:
        raise ValueError(f"{source}: no name can be made of it; give one with --as NAME")
    return name


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"--as {name}: allowed are letters, digits, '.', '_' and '-', a letter or digit first, 64 at most"
        )
    return name


def builtin_names() -> str:
    return ", ".join(BUILTIN_PREFIX + name for name in builtin.NAMES)


def class_folder(label: str) -> str:
    """The folder of a class: its label, with slashes as dashes (T-shirt/top is T-shirt-top).

    Raises ValueError for a label that no folder can be named: empty, hidden, too long, with control characters.
    """
    folder = re.sub(r"[/\\]+", "-", label.strip())
    if not folder:
        raise ValueError("the label is empty")
    if is_bad_name(folder):
        raise ValueError(f"the label {printable(label)} has control characters or is no UTF-8")
    if is_litter(folder):
        raise ValueError(f"the label {folder} is the name of a hidden or system's folder, which is never read")
    if len(os.fsencode(folder)) > MAX_NAME_BYTES:
        raise ValueError(f"the label {folder[:30]}... has more than {MAX_NAME_BYTES} bytes")
    return folder
