"""Choose the reader for a source: a single file by its name, a folder by the files in it."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from genai_core.data.ingest import builtin
from genai_core.data.ingest.archives import ARCHIVE_EXTENSIONS, archive_stem, is_archive, unpack
from genai_core.data.ingest.names import BUILTIN_PREFIX, builtin_names
from genai_core.data.ingest.readers.cifar import cifar_batches, is_cifar_name, read_cifar
from genai_core.data.ingest.readers.idx import is_idx_name, read_idx
from genai_core.data.ingest.readers.image_folder import read_image_folder
from genai_core.data.ingest.readers.items import Reading
from genai_core.data.ingest.readers.label_table import TABLE_EXTENSIONS
from genai_core.data.ingest.readers.numpy_files import NUMPY_EXTENSIONS, read_numpy, with_labels_file
from genai_core.data.ingest.readers.parquet_images import holds_images, read_parquet
from genai_core.data.ingest.readers.samples import LABEL_EXTENSIONS, are_samples, read_samples
from genai_core.data.raw.formats import IMAGE_EXTENSIONS
from genai_core.data.raw.rules import is_hidden


def read_source(source: str, into: Path, unpacked: Path, *, split_from_folders: bool) -> Reading:
    """Start reading a source: builtin:digits, a folder, an archive or a file that holds a dataset.

    into: data/raw, which cannot be the source itself. unpacked: folder to create for unpacking. Raises ValueError or an
    OSError that says what to do.
    """
    if source.startswith(BUILTIN_PREFIX):
        builtin.write_digits(unpacked)  # the name was checked when data/raw/NAME was chosen
        return read_image_folder(unpacked, split_from_folders=split_from_folders)
    path = Path(source)
    if path.is_dir():
        inside, outside = path.resolve(), into.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise ValueError(f"{source}: {into} cannot be added to itself; use a folder outside it")
        return _read_folder(path, unpacked, split_from_folders)
    if not path.exists():
        raise FileNotFoundError(f"{source}: no such folder or file; built in: {builtin_names()}")
    if path.is_file():
        if is_idx_name(path.name):
            return read_idx([path])
        if path.suffix.lower() in NUMPY_EXTENSIONS:
            return read_numpy(with_labels_file(path))
        if path.suffix.lower() == ".parquet":
            return read_parquet([path], path)
        if is_archive(path):
            unpacked.mkdir()
            unpack(path, unpacked, _is_wanted)
            return _read_folder(unpacked, unpacked, split_from_folders)
        if is_cifar_name(path.name):
            return read_cifar([path])
    raise ValueError(
        f"{source}: expected a folder, an archive ({', '.join(ARCHIVE_EXTENSIONS)}), a file that holds a dataset "
        f"(IDX, .npy, .npz, .parquet, a CIFAR batch) or {builtin_names()}; put single images into a folder"
    )


def _read_folder(folder: Path, unpacked: Path, split_from_folders: bool) -> Reading:
    """Read image files if there are any; else files that hold many images each."""
    files = sorted(_files(folder, ""))
    paths = [folder / path for path in files]
    if any(_extension(path) in IMAGE_EXTENSIONS for path in files):
        if are_samples(files):
            return read_samples(folder, files)
        return read_image_folder(folder, split_from_folders=split_from_folders)
    if idx := [path for path in paths if is_idx_name(path.name)]:
        return read_idx(idx)
    if batches := cifar_batches(paths):
        return read_cifar(batches)
    if arrays := [path for path in paths if path.suffix.lower() in NUMPY_EXTENSIONS]:
        return read_numpy(arrays)
    if tables := [path for path in paths if path.suffix.lower() == ".parquet" and holds_images(path)]:
        return read_parquet(tables, folder)
    if shards := [path for path in paths if path.suffix.lower() == ".tar"]:
        return _read_shards(shards, unpacked)
    return read_image_folder(folder, split_from_folders=split_from_folders)  # raises: no images


def _read_shards(shards: list[Path], unpacked: Path) -> Reading:
    """Read tar files, each unpacked into a folder with its name: keys must be unique only within a shard."""
    unpacked.mkdir()
    for shard in shards:
        folder = unpacked / archive_stem(shard)
        folder.mkdir()
        unpack(shard, folder, _is_wanted)
    return read_samples(unpacked, sorted(_files(unpacked, "")))


def _is_wanted(name: str) -> bool:
    """Whether an archive member may belong to any kind of dataset, by its file name."""
    extensions = (*IMAGE_EXTENSIONS, *TABLE_EXTENSIONS, *NUMPY_EXTENSIONS, *LABEL_EXTENSIONS)
    return _extension(name) in extensions or is_idx_name(name) or is_cifar_name(name)


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _files(folder: Path, above: str) -> Iterator[str]:
    """Yield every file below a folder, relative to it; no links, hidden or special files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name) or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{above}{entry.name}/")
            elif entry.is_file():
                yield above + entry.name
