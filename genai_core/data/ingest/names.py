"""Names of sources (data/raw/NAME) and classes (data/raw/NAME/CLASS), which become folders."""

import os
import re
import unicodedata
from pathlib import Path

from genai_core.data.ingest import builtin
from genai_core.data.ingest.archives import archive_stem, is_archive
from genai_core.data.ingest.convert.kinds import is_source_image
from genai_core.data.raw.rules import is_bad_name, is_hidden, printable

BUILTIN_PREFIX = "builtin:"
MAX_NAME_BYTES = 255  # of one path component, on every common file system
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# For files that hold a whole dataset: train-images-idx3-ubyte.gz becomes train.
_DATA_ENDINGS = re.compile(
    r"([-._]?images[-._]idx\d-ubyte)?(\.gz)?$|\.(npy|npz|parquet|arrow|h5|hdf5|he5|mat|mdb|lmdb)$"
    r"|\.tfrecords?(-\d+-of-\d+)?(\.gz)?$",
    re.IGNORECASE,
)


def default_name(source: str) -> str:
    """Derive a source's name from its file or folder. Raises ValueError when that is not possible."""
    if source.startswith(BUILTIN_PREFIX):
        name = source.removeprefix(BUILTIN_PREFIX)
        if name not in builtin.NAMES:
            raise ValueError(f"{source}: no such built-in dataset; available: {builtin_names()}")
        return name
    path = Path(source).resolve()
    if path.is_dir():
        stem = path.name
    elif is_archive(path):
        stem = archive_stem(path)
    else:
        stem = path.stem if is_source_image(path.name) else _DATA_ENDINGS.sub("", path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64]
    if not name:
        raise ValueError(f"{source}: cannot derive a name from it; pass one with --as NAME")
    return name


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"--as {name}: use at most 64 letters, digits, '.', '_' and '-', starting with a letter or digit"
        )
    return name


def builtin_names() -> str:
    return ", ".join(BUILTIN_PREFIX + name for name in builtin.NAMES)


def class_folder(label: str) -> str:
    """Return the folder of a class: its label with slashes as dashes (T-shirt/top becomes T-shirt-top).

    Accents become one character each (NFC), because macOS and others write the same name in different ways.

    Raises ValueError for a label that cannot name a folder: empty, hidden, too long, or with control characters.
    """
    folder = unicodedata.normalize("NFC", re.sub(r"[/\\]+", "-", label.strip()))
    if not folder:
        raise ValueError("the label is empty")
    if is_bad_name(folder):
        raise ValueError(f"the label {printable(label)} has control characters or is not UTF-8")
    if is_hidden(folder):
        raise ValueError(f"the label {folder} names a hidden or system folder, which is never read")
    if len(os.fsencode(folder)) > MAX_NAME_BYTES:
        raise ValueError(f"the label {folder[:30]}... is longer than {MAX_NAME_BYTES} bytes")
    return folder
