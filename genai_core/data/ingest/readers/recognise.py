"""Choose the reader for a source: a single file by its name, a folder by the files in it."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from genai_core.counted import counted
from genai_core.data.ingest import builtin
from genai_core.data.ingest.annotations.table_files import TABLE_EXTENSIONS, is_table
from genai_core.data.ingest.annotations.tables import has_table_of_images
from genai_core.data.ingest.archives import ARCHIVE_EXTENSIONS, archive_stem, is_archive, unpack
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.convert.convert import holds_frames, with_converted
from genai_core.data.ingest.convert.kinds import SOURCE_EXTENSIONS
from genai_core.data.ingest.layouts.storage_folders import are_numbered, share_stem
from genai_core.data.ingest.listing import Listing, list_folder
from genai_core.data.ingest.names import BUILTIN_PREFIX, builtin_names
from genai_core.data.ingest.readers.cifar import cifar_batches, is_cifar_name, read_cifar
from genai_core.data.ingest.readers.containers import container_extensions, is_container, read_containers
from genai_core.data.ingest.readers.idx import is_idx_name, read_idx
from genai_core.data.ingest.readers.image_folder import CAPTION_ENDING, read_image_folder
from genai_core.data.ingest.readers.items import Item, Reading, Understood
from genai_core.data.ingest.readers.samples import LABEL_EXTENSIONS, are_samples, read_samples
from genai_core.data.ingest.readers.stylegan import read_stylegan, stylegan_root
from genai_core.data.raw.rules import kind_of_file

UNREAD_ARCHIVES = (".rar", ".7z")
_ANNOTATION_EXTENSIONS = (*TABLE_EXTENSIONS, *LABEL_EXTENSIONS, CAPTION_ENDING, ".xml", ".lst")


def read_source(source: str, into: Path, unpacked: Path, choices: Choices) -> Reading:
    """Start reading a source: builtin:digits, a folder, an archive or a file that holds a dataset.

    into: data/raw, which cannot be the source itself. unpacked: folder to create for unpacking. choices: what the user
    says about the source. Raises ValueError or an OSError that says what to do.
    """
    return with_converted(_read_source(source, into, unpacked, choices), choices.every)


def _read_source(source: str, into: Path, unpacked: Path, choices: Choices) -> Reading:
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
        if reading := read_containers([path], path):
            return reading
        if is_archive(path):
            return _read_archive(path, unpacked, choices)
        if is_cifar_name(path.name):
            return read_cifar([path])
        if holds_frames(path.name, choices.every):
            understood = Understood(layout="a single file of frames")
            item = Item(path.name, None, None, path)
            return Reading([item], 1, splits=frozenset({None}), understood=understood)
    if path.suffix.lower() in UNREAD_ARCHIVES:
        raise ValueError(f"{source}: {path.suffix[1:].upper()} archives are not read; unpack it and add the folder")
    raise ValueError(
        f"{source}: expected a folder, an archive ({', '.join(ARCHIVE_EXTENSIONS)}), a file that holds a dataset "
        f"(IDX, a CIFAR batch, {container_extensions()}) or {builtin_names()}; put single images into a folder"
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
    if listing.images:
        if choices.layout is None and (root := stylegan_root(folder, files)) is not None:
            return read_stylegan(folder, files, root)
        if choices.layout is None and are_samples(files) and not _tables_count(listing, choices):
            return _with_unused_tables(read_samples(folder, files), listing)
        return read_image_folder(listing, choices)
    if idx := [path for path in paths if is_idx_name(path.name)]:
        return read_idx(idx)
    if batches := cifar_batches(paths):
        return read_cifar(batches)
    if reading := read_containers(paths, folder):
        return reading
    archives = [path for path in paths if is_archive(path)]
    tables = [path for path in paths if path.suffix.lower() in TABLE_EXTENSIONS]
    if archives and not tables and all(path.suffix.lower() == ".tar" for path in archives):
        return _read_shards(archives, unpacked, choices)
    if archives and folder != unpacked:
        return _read_beside_annotations(archives, paths, folder, unpacked, choices)
    return read_image_folder(listing, choices)  # raises: no images


def _tables_count(listing: Listing, choices: Choices) -> bool:
    """Whether tables say what the images are, and not the files beside each: labels.csv with LabelMe's JSON files."""
    if choices.label_columns or choices.caption_column:
        return True
    return not any(path.lower().endswith(".cls") for path in listing.others) and has_table_of_images(listing)


def _with_unused_tables(reading: Reading, listing: Listing) -> Reading:
    if tables := [path for path in listing.others if is_table(path)]:
        kinds = Counter(map(kind_of_file, tables))
        reading.skipped = dict(sorted((Counter(reading.skipped) + kinds).items()))
        what = f"{counted(len(tables), 'table')}, first {tables[0]}, left out"
        reading.notes.append(f"note: {what}: the files beside the images count; to use tables: --layout table")
    return reading


def _read_shards(shards: list[Path], unpacked: Path, choices: Choices) -> Reading:
    """Read tar files, each unpacked into a folder with its name: keys must be unique only within a shard.

    Without texts, tar files that are not numbered as parts are no shards but folders: n01440764.tar. Raises AskError
    where they may be both.
    """
    unpacked.mkdir()
    for shard in shards:
        folder = unpacked / archive_stem(shard)
        folder.mkdir()
        unpack(shard, folder, _is_wanted)
    listing = list_folder(unpacked)
    has_texts = any(path.lower().endswith(LABEL_EXTENSIONS) for path in listing.others)
    names = [archive_stem(shard) for shard in shards]
    if not has_texts and not are_numbered(names):
        if share_stem(names) and choices.layout is None:
            raise AskError(
                f"{shards[0].parent}: {shards[0].name} to {shards[-1].name} may be parts of one set or a class each; "
                "choose --layout flat if they are parts, or --layout class-folders if they are classes"
            )
        return read_image_folder(listing, choices)
    return read_samples(unpacked, sorted([*listing.images, *listing.others]))


def _read_beside_annotations(
    archives: Sequence[Path], files: Sequence[Path], folder: Path, unpacked: Path, choices: Choices
) -> Reading:
    """Read archives of images with the annotation files beside them, as on the Hugging Face Hub.

    files: all files of the folder: metadata.jsonl and train.zip, list_attr_celeba.txt and img_align_celeba.zip ... The
    only archive is unpacked beside its table; each of several, such as train.zip, into a folder with its name.
    """
    unpacked.mkdir()
    for archive in archives:
        inside = unpacked / archive.relative_to(folder).parent / (archive_stem(archive) if len(archives) > 1 else "")
        inside.mkdir(parents=True, exist_ok=True)
        unpack(archive, inside, _is_wanted)
    kinds: Counter[str] = Counter()
    for path in files:
        if path.suffix.lower() in _ANNOTATION_EXTENSIONS:
            copy = unpacked / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        elif not is_archive(path):
            kinds[kind_of_file(path.name)] += 1
    reading = _read_folder(unpacked, unpacked, choices)
    reading.skipped = dict(sorted((Counter(reading.skipped) + kinds).items()))
    return reading


def _is_wanted(name: str) -> bool:
    """Whether an archive member may belong to any kind of dataset, by its file name."""
    extensions = (*SOURCE_EXTENSIONS, *_ANNOTATION_EXTENSIONS)
    is_data = is_container(name) or is_idx_name(name) or is_cifar_name(name)
    return is_data or PurePosixPath(name).suffix.lower() in extensions
