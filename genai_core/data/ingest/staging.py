"""A folder beside data/raw in which new files are made ready, so that data/raw never holds half of anything."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(raw: Path) -> Iterator[Path]:
    """An empty folder beside `raw`, on the same file system; one that a killed run left is removed.

    One at a time: raises ValueError while another process adds or removes images here.
    """
    raw.parent.mkdir(parents=True, exist_ok=True)
    above = os.open(raw.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(above, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{raw}: another command adds or removes images here; wait for its end") from None
        folder = raw.with_name(f".{raw.name}.new")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(above)
