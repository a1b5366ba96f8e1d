"""Choose the reader for a source: a single file by its name, a folder by the files in it."""

from collections import Counter
from pathlib import Path, PurePosixPath

from genai_core.counted import counted
from genai_core.data.ingest import builtin
from genai_core.data.ingest.annotations.table_files import TABLE_EXTENSIONS
from genai_core.data.ingest.archives import ARCHIVE_EXTENSIONS, archive_stem, is_archive, unpack
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.listing import list_folder
from genai_core.data.ingest.names import BUILTIN_PREFIX, builtin_names
from genai_core.data.ingest.readers.cifar import cifar_batches, is_cifar_name, read_cifar
from genai_core.data.ingest.readers.idx import is_idx_name, read_idx
from genai_core.data.ingest.readers.image_folder import read_image_folder
from genai_core.data.ingest.readers.items import Reading
from genai_core.data.ingest.readers.numpy_files import NUMPY_EXTENSIONS, read_numpy, with_labels_file
from genai_core.data.ingest.readers.parquet_images import holds_images, read_parquet
from genai_core.data.ingest.readers.samples import LABEL_EXTENSIONS, are_samples, read_samples
from genai_core.data.raw.formats import IMAGE_EXTENSIONS
from genai_core.data.raw.rules import kind_of_file


def read_source(source: str, into: Path, unpacked: Path, choices: Choices) -> Reading:
    """Start reading a source: builtin:digits, a folder, an archive or a file that holds a dataset.

    into: data/raw, which cannot be the source itself. unpacked: folder to create for unpacking. choices: what the user
    says about the source. Raises ValueError or an OSError that says what to do.
    """
    if source.startswith(BUILTIN_PREFIX):
        builtin.write_digits(unpacked)  # the name was checked when data/raw/NAME was chosen
        return read_image_folder(list_folder(unpacked), choices)
    path = Path(source)
    if path.is_dir():
        inside, outside = path.resolve(), into.resolve()
        if inside.is_relative_to(outside) or outside.is_relative_to(inside):
            raise ValueError(f"{source}: {into} cannot be added to itself; use a folder outside it")
        return _read_folder(path, unpacked, choices)
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
            return _read_archive(path, unpacked, choices)
        if is_cifar_name(path.name):
            return read_cifar([path])
    raise ValueError(
        f"{source}: expected a folder, an archive ({', '.join(ARCHIVE_EXTENSIONS)}), a file that holds a dataset "
        f"(IDX, .npy, .npz, .parquet, a CIFAR batch) or {builtin_names()}; put single images into a folder"
    )


def _read_archive(archive: Path, unpacked: Path, choices: Choices) -> Reading:
    left_out: list[str] = []

    def is_wanted(name: str) -> bool:
        wanted = _is_wanted(name)
        if not wanted:
            left_out.append(name)
        return wanted

    unpacked.mkdir()
    unpack(archive, unpacked, is_wanted)
    inner = [name for name in left_out if is_archive(Path(name))]
    try:
        reading = _read_folder(unpacked, unpacked, choices)
    except ValueError:
        if inner and not any(path.is_file() for path in unpacked.rglob("*")):
            raise ValueError(
                f"{archive}: contains no images but {counted(len(inner), 'archive')}, first {inner[0]}; archives in an "
                "archive are not unpacked: unpack it yourself and add the folder"
            ) from None
        raise
    kinds = Counter(map(kind_of_file, left_out))
    reading.skipped = dict(sorted((Counter(reading.skipped) + kinds).items()))
    return reading


def _read_folder(folder: Path, unpacked: Path, choices: Choices) -> Reading:
    """Read image files if there are any; else files that hold many images each."""
    listing = list_folder(folder)
    files = sorted([*listing.images, *listing.others])
    paths = [folder / path for path in files]
    if any(_extension(path) in IMAGE_EXTENSIONS for path in files):
        if choices.layout is None and are_samples(files):
            return read_samples(folder, files)
        return read_image_folder(listing, choices)
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
    return read_image_folder(listing, choices)  # raises: no images


def _read_shards(shards: list[Path], unpacked: Path) -> Reading:
    """Read tar files, each unpacked into a folder with its name: keys must be unique only within a shard."""
    unpacked.mkdir()
    for shard in shards:
        folder = unpacked / archive_stem(shard)
        folder.mkdir()
        unpack(shard, folder, _is_wanted)
    listing = list_folder(unpacked)
    return read_samples(unpacked, sorted([*listing.images, *listing.others]))


def _is_wanted(name: str) -> bool:
    """Whether an archive member may belong to any kind of dataset, by its file name."""
    extensions = (*IMAGE_EXTENSIONS, *TABLE_EXTENSIONS, *NUMPY_EXTENSIONS, *LABEL_EXTENSIONS, ".xml", ".lst")
    return _extension(name) in extensions or is_idx_name(name) or is_cifar_name(name)


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
