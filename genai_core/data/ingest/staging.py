"""Staging folder next to data/raw: new files are completed there, so data/raw never holds partial files."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(raw: Path) -> Iterator[Path]:
    """Create an empty folder next to `raw`, on the same file system; replaces one left by a killed run.

    Exclusive: raises ValueError while another process adds or removes images here.
    """
    raw.parent.mkdir(parents=True, exist_ok=True)
    above = os.open(raw.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(above, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{raw}: another command is adding or removing images; try again when it ends") from None
        folder = raw.with_name(f".{raw.name}.new")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(above)
