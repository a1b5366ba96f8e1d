"""Files that hold many images each, and are known by their extension: one line for each kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from genai_core.data.ingest.readers.arrow_dataset import ARROW_EXTENSIONS, read_arrow
from genai_core.data.ingest.readers.hdf5 import HDF5_EXTENSIONS, read_hdf5, with_pcams_labels
from genai_core.data.ingest.readers.items import Reading
from genai_core.data.ingest.readers.lmdb_images import LMDB_EXTENSIONS, read_lmdb
from genai_core.data.ingest.readers.numpy_files import NUMPY_EXTENSIONS, read_numpy, with_labels_file
from genai_core.data.ingest.readers.parquet_images import PARQUET_EXTENSIONS, holds_images, read_parquet
from genai_core.data.ingest.readers.svhn import MATLAB_EXTENSIONS, read_svhn
from genai_core.data.ingest.readers.tfrecord import TFRECORD_EXTENSIONS, is_tfrecord_name, read_tfrecords


@dataclass(frozen=True)
class _Kind:
    """read: all files of one source, below a root. holds: whether a file in a folder is one, if its name is not enough.

    with_labels: the file that a user names, and the file of its labels beside it.
    """

    extensions: tuple[str, ...]
    read: Callable[[Sequence[Path], Path], Reading]
    holds: Callable[[Path], bool] = lambda _path: True
    with_labels: Callable[[Path], list[Path]] = lambda path: [path]


# In order of precedence for a folder with several kinds.
_KINDS = (
    _Kind(NUMPY_EXTENSIONS, lambda files, _root: read_numpy(files), with_labels=with_labels_file),
    _Kind(ARROW_EXTENSIONS, read_arrow),
    _Kind(PARQUET_EXTENSIONS, read_parquet, holds=holds_images),
    _Kind(HDF5_EXTENSIONS, lambda files, _root: read_hdf5(files), with_labels=with_pcams_labels),
    _Kind(MATLAB_EXTENSIONS, lambda files, _root: read_svhn(files)),
    _Kind(LMDB_EXTENSIONS, lambda files, _root: read_lmdb(files)),
    _Kind(TFRECORD_EXTENSIONS, lambda files, _root: read_tfrecords(files)),
)


def is_container(name: str) -> bool:
    """Whether a file may hold a dataset, by its name."""
    return any(_is_of(kind, name) for kind in _KINDS)


def container_extensions() -> str:
    return ", ".join(extension for kind in _KINDS for extension in kind.extensions)


def read_containers(paths: Sequence[Path], root: Path) -> Reading | None:
    """Read the files of the first kind among `paths`; None if there are none.

    root: the source, a folder with these files or the only one of them.
    """
    for kind in _KINDS:
        found = [path for path in paths if _is_of(kind, path.name)]
        if found == [root]:
            return kind.read(kind.with_labels(root), root)
        if found := [path for path in found if kind.holds(path)]:
            return kind.read(found, root)
    return None


def _is_of(kind: _Kind, name: str) -> bool:
    if kind.extensions == TFRECORD_EXTENSIONS:
        return is_tfrecord_name(name)
    return PurePosixPath(name).suffix.lower() in kind.extensions
