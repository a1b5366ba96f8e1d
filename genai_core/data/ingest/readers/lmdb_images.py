"""LMDB databases with an encoded image per key, as LSUN, StyleGAN2's PyTorch ports and restoration papers have them.

Needs the extra `lmdb`. LSUN names its folders CATEGORY_train_lmdb and CATEGORY_val_lmdb, and the category is the class.
Values that are pickled or serialised objects are never read.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.extras import import_extra
from genai_core.data.ingest.readers.encoded import image_extension
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.rules import is_bad_name

LMDB_EXTENSIONS = (".mdb", ".lmdb")
_DATA_FILE = "data.mdb"
_LOCK_FILE = "lock.mdb"
_LSUN_NAME = re.compile(r"(?P<category>.+?)_(?P<split>train|val|test)(_lmdb)?")
_COUNT_KEYS = (b"length", b"__len__", b"num-samples", b"num_samples")
_RESOLUTION_KEY = re.compile(rb"(\d+)-\d+")  # of StyleGAN2's ports: 256-00012, one copy for each resolution


@dataclass(frozen=True)
class _Database:
    path: Path  # data.mdb, or a file with the whole database
    name: str
    split: Split | None
    category: str | None

    @property
    def is_folder(self) -> bool:
        return self.path.name == _DATA_FILE


def read_lmdb(files: Sequence[Path]) -> Reading:
    """Read the images of all databases, named by their keys. Raises ValueError when a database is damaged.

    The split is the one in a database's name. The categories of LSUN are classes if there are several.
    """
    databases = [_database(path) for path in files if path.name != _LOCK_FILE]
    if not databases:
        raise ValueError(f"{files[0]}: a lock without its database; expected {_DATA_FILE} beside it")
    categories = {database.category for database in databases}
    has_classes = len(categories) > 1 and None not in categories
    return join_readings([_read_database(database, has_classes=has_classes) for database in databases])


def _database(path: Path) -> _Database:
    name = path.resolve().parent.name if path.name == _DATA_FILE else path.stem
    match = _LSUN_NAME.fullmatch(name)
    if match:
        return _Database(path, name, split_in(match["split"]), match["category"])
    return _Database(path, name, split_in(name), None)


def _read_database(database: _Database, *, has_classes: bool) -> Reading:
    with _opened(database) as transaction:
        entries = transaction.stat()["entries"]
        largest = _largest_resolution(transaction)
    label = database.category if has_classes else None
    reading = Reading((), entries, splits=frozenset({database.split}))

    def items() -> Iterator[Item]:
        with _opened(database) as transaction:
            for index, (key, value) in enumerate(transaction.cursor()):
                if key in _COUNT_KEYS or (largest and _resolution(key) != largest):
                    continue
                extension = image_extension(value)
                name = _name(key, index)
                if extension is None:
                    detail = f"{len(value):,} bytes that start with {value[:8]!r}; only encoded images are read"
                    reading.rejected.append(RejectedFile(f"{database.name}: {name}", "no_image", detail))
                else:
                    yield Item(name + extension, label, database.split, value)

    reading.items = items()
    if largest:
        reading.notes.append(f"{database.name}: of several resolutions, only the largest is read: {largest}")
    reading.understood = Understood(
        layout="LMDB with an encoded image per key",
        labels="categories in the names of the folders" if label else "",
        split="names of the folders" if database.split else "",
    )
    return reading


def _largest_resolution(transaction: Any) -> int:
    """Return the largest resolution if the keys are RESOLUTION-NUMBER with several resolutions; else 0."""
    keys = [key for key in transaction.cursor().iternext(keys=True, values=False) if key not in _COUNT_KEYS]
    resolutions = {_resolution(key) for key in keys}
    return max(resolutions) if len(resolutions) > 1 and 0 not in resolutions else 0


def _resolution(key: bytes) -> int:
    match = _RESOLUTION_KEY.fullmatch(key)
    return int(match[1]) if match else 0


def _name(key: bytes, index: int) -> str:
    """Return a file name for a key; its number for a key that is not text."""
    name = key.decode("utf-8", "surrogateescape").strip("\0").replace("/", "-").replace("\\", "-")
    is_bad = not name or is_bad_name(name) or name.startswith(".") or len(name.encode()) > 200
    return f"image-{index:06d}" if is_bad else re.sub(r"\.(png|jpe?g|webp)$", "", name, flags=re.IGNORECASE)


@contextmanager
def _opened(database: _Database) -> Iterator[Any]:
    lmdb = import_extra("lmdb", "lmdb", "LMDB databases")
    path = database.path.parent if database.is_folder else database.path
    try:
        with (
            lmdb.open(str(path), subdir=database.is_folder, readonly=True, lock=False, readahead=False) as opened,
            opened.begin() as transaction,
        ):
            yield transaction
    except lmdb.Error as error:
        raise ValueError(f"{path}: damaged, or not an LMDB database ({error}); copy it again") from None
