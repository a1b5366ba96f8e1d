"""A folder beside data/raw in which new files are made ready, so that data/raw never holds half of anything."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(raw: Path) -> Iterator[Path]:
    """An empty folder beside `raw`, on the same file system; one that a killed run left is removed."""
    folder = raw.with_name(f".{raw.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
