"""From raw files to a dataset: decode, reject, drop duplicates, split train from test, write shards.

Nothing depends on the order of the file system or of the workers. What the dataset says (its images, their order,
labels and splits) is a function of the raw files alone; in which shards the images stand follows the version before
(layout.py), so that a small change of the raw data is a small change of the dataset.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from genai_core.config import DataConfig
from genai_core.data.card import REJECTED_FILE
from genai_core.data.dataset import NO_LABEL, SPLITS, DatasetInfo
from genai_core.data.decode import Reason
from genai_core.data.decoder_pool import Worker
from genai_core.data.duplicates import Duplicates, find_duplicates
from genai_core.data.facts import Digests, Indices, order_of, rows_at
from genai_core.data.layout import OldShard, images_a_shard, shards_to_keep
from genai_core.data.near_groups import find_near_duplicates, near_flags
from genai_core.data.pixel_store import OldPixels, PreviousDataset, Spool
from genai_core.data.raw_images import RawImages, find_raw_images
from genai_core.data.read_files import ReadFiles, decode_rule, read_files
from genai_core.data.source_json import given_sides
from genai_core.data.sources import class_of, sorted_runs
from genai_core.data.split import GIVEN, GivenSides, Sides, is_held_out, train_images_near_test
from genai_core.data.writer import ROWS_SCHEMA, DatasetWriter, dictionary_column, one_text

# Reasons for which a file is left out although nothing is wrong with it.
HARMLESS: tuple[Reason, ...] = ("duplicate", "in_test", "near_duplicate")


@dataclass(frozen=True)
class RejectedFile:
    source: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Prepared:
    """What was made of the raw data."""

    info: DatasetInfo
    total_files: int  # images found
    rejected: tuple[RejectedFile, ...]
    skipped: dict[str, int]  # files that are no images by their name, hidden files
    untrained: tuple[str, ...]  # classes so small that none of their images is for training
    lost: tuple[str, ...]  # classes of which no image was good
    sizes: tuple[tuple[int, int, int], ...]  # width, height and number of the files that are in the dataset


@dataclass(frozen=True)
class _Chosen:
    """The files that are in the dataset: indices (N,), whether each is held out, and flags by index."""

    files: Indices
    held_out: Sides
    near_flags: dict[int, str]


@dataclass(frozen=True)
class _Classes:
    """The class that each file's path says: codes (N,) into names, -1 without one."""

    codes: Indices
    names: tuple[str, ...]

    def of(self, row: int) -> str:
        return self.names[int(self.codes[row])]


def prepare(
    raw: Path,
    folder: Path,
    config: DataConfig,
    *,
    workers: int,
    previous: PreviousDataset | None = None,
    memory: Path | None = None,
    indexes: Path | None = None,
    on_decoded: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Make the dataset `folder` (there, and empty) of the images below `raw`; on_decoded(done, total) follows, from 0.

    previous: the version before, whose shards are kept where they can be. memory, indexes: folders for what the next
    run need not find out again, of images and of packs; they shape nothing. Raises ValueError when the images cannot
    make a dataset: none, too many rejected, some with a class and some without, all but one the same.
    """
    rule = decode_rule(config)
    started: list[Worker] = []

    def start() -> None:
        # Images are to be decoded: the first process starts while what is known is looked through.
        started.append(Worker(rule))
        started[0].start()

    with ExitStack() as at_the_end:
        spool = at_the_end.enter_context(Spool(folder / ".spool", config.image_size, config.channels))
        beside = at_the_end.enter_context(ThreadPoolExecutor(1))
        at_the_end.callback(lambda: [*map(Worker.close, started)])
        old = beside.submit(OldPixels, previous, config.image_size, config.channels)
        found = find_raw_images(raw, indexes, on_new_pack=start)
        classes = _classes_of(found.names)
        _check_all_or_none_labelled(raw, found.names, classes)
        given = given_sides(raw, found.names)
        read = read_files(
            found,
            config,
            spool=spool,
            old=old.result(),
            memory=memory,
            workers=workers,
            started=started,
            on_decoded=on_decoded or (lambda _done, _total: None),
        )
        return _make(folder, found, classes, given, read, config, memory)


def _make(
    folder: Path,
    found: RawImages,
    classes: _Classes,
    given: GivenSides,
    read: ReadFiles,
    config: DataConfig,
    memory: Path | None,
) -> Prepared:
    total_files = len(found) + len(found.faults)
    is_decoded = np.ones(len(found), dtype=np.bool_)
    is_decoded[list(read.files.rejected)] = False
    decoded = np.flatnonzero(is_decoded)
    digests = np.ascontiguousarray(read.files.records["sha256"])
    twins = _same_names(found, read, decoded)
    decoded = np.setdiff1d(decoded, list(twins)) if twins else decoded
    same = find_duplicates(digests, classes.codes, given, decoded)
    faulty = [RejectedFile(fault.source, fault.reason, fault.detail) for fault in found.faults]
    faulty += twins.values()
    faulty += [RejectedFile(found.names[row], r.reason, r.detail) for row, r in read.files.rejected.items()]
    rejected = faulty + _duplicate_files(found.names, classes, given, same)
    _check_rejected_share(sorted(rejected, key=lambda file: file.source), total_files, config.max_rejected_share)

    chosen, left_out = _choose(read, digests, same.kept, given, config, found.names, memory)
    rejected = sorted(rejected + left_out, key=lambda file: file.source)
    codes = classes.codes[chosen.files]
    images = np.bincount(codes[codes >= 0], minlength=len(classes.names))
    present = tuple(sorted(name for name, count in zip(classes.names, images.tolist(), strict=True) if count))
    numbers = np.array([present.index(name) if name in present else NO_LABEL for name in classes.names] + [NO_LABEL])
    labels = numbers[codes]
    info = _write(folder, found, read, digests, chosen, labels, present, config)
    _write_rejected(folder / REJECTED_FILE, rejected)
    trained = np.bincount(labels[~chosen.held_out] + 1, minlength=1 + len(present))[1:]
    untrained = tuple(name for name, count in zip(present, trained.tolist(), strict=True) if not count)
    lost = tuple(sorted(set(classes.names) - set(present)))
    return Prepared(info, total_files, tuple(rejected), found.skipped, untrained, lost, _sizes(read, chosen.files))


def _choose(
    read: ReadFiles,
    all_digests: Digests,
    kept: Indices,
    given: GivenSides,
    config: DataConfig,
    names: Sequence[str],
    memory: Path | None,
) -> tuple[_Chosen, list[RejectedFile]]:
    """The split of the files `kept`, without the training images that look like a test image."""
    digests, records = rows_at(all_digests, kept), read.files.records[kept]
    held_out = is_held_out(digests, config.test_share, given[kept])
    if config.near_duplicate_distance is None:
        return _Chosen(kept, held_out, {}), []
    values = config.channels * config.image_size**2
    means = records["total"] / values
    deviations = np.sqrt(values * records["squares"] - records["total"] ** 2) / values
    pairs = find_near_duplicates(
        digests,
        records["near_hash"],
        means,
        deviations,
        lambda indices: read.pixels_at(kept[indices]),
        distance=config.near_duplicate_distance,
        memory=memory,
    )
    gone = train_images_near_test(pairs, held_out)
    stays = np.ones(len(kept), dtype=np.bool_)
    stays[list(gone)] = False
    if held_out[stays].all():  # a dataset needs an image to train on, were it the only one
        return _Chosen(kept, held_out, {}), []
    left_out = [
        RejectedFile(names[kept[one]], "near_duplicate", f"looks like {names[kept[other]]}, which is held out")
        for one, other in gone.items()
    ]
    flags = near_flags(pairs[stays[pairs].all(axis=1)], digests)
    return _Chosen(kept[stays], held_out[stays], {int(kept[index]): word for index, word in flags.items()}), left_out


def _write(
    folder: Path,
    found: RawImages,
    read: ReadFiles,
    all_digests: Digests,
    chosen: _Chosen,
    labels: Indices,
    classes: tuple[str, ...],
    config: DataConfig,
) -> DatasetInfo:
    image_bytes = config.channels * config.image_size**2
    shard_images = images_a_shard(config.shard_images, image_bytes)
    writer = DatasetWriter(
        folder,
        image_size=config.image_size,
        channels=config.channels,
        classes=classes,
        shard_images=shard_images,
    )
    old, digests = read.old, rows_at(all_digests, chosen.files)
    sources = pa.array([found.names[row] for row in chosen.files.tolist()], pa.large_string())
    flags = _flags(read, chosen)
    old_place = read.old_place[chosen.files]
    unknown = np.flatnonzero(old_place < 0)
    old_place[unknown] = old.find(rows_at(digests, unknown))
    by_hash = order_of(digests)
    for split in SPLITS:
        ours = by_hash[chosen.held_out[by_hash] == (split == "test")]
        place = old_place[ours]
        elsewhere = np.flatnonzero(place >= 0)
        elsewhere = elsewhere[old.is_train[place[elsewhere]] != (split == "train")]
        place[elsewhere] = old.find(rows_at(digests, ours[elsewhere]), split)
        wanted = np.bincount(old.shard_code[place[place >= 0]], minlength=len(old.shards))
        shards = map(OldShard, old.shards, old.lengths.tolist(), wanted.tolist())
        names = shards_to_keep(
            list(shards),
            split_images=len(ours),
            shard_images=shard_images,
            max_removed_share=config.max_removed_share,
        )
        stays = place >= 0
        stays[stays] = np.isin(old.shard_code[place[stays]], [old.shards.index(name) for name in names])
        if old.folder is not None and stays.any():
            rows, at = pa.array(ours[stays]), place[stays]
            kept = {
                "id": pa.repeat(pa.scalar("", pa.large_string()), len(at)),
                "label": pa.array(labels[ours[stays]], pa.int64()),
                "split": one_text(split, len(at)),
                "source": sources.take(rows),
                "shard": dictionary_column(old.shard_code[at], old.shards),
                "row": pa.array(old.row[at]),
                "flags": flags.take(rows),
            }
            writer.keep_rows(old.folder, pa.table(kept, schema=ROWS_SCHEMA), old.facts[at])
        new = ours[~stays]
        for begin in range(0, len(new), shard_images):
            part = new[begin : begin + shard_images]
            writer.add(
                split,
                read.pixels_at(chosen.files[part]),
                labels[part] if classes else None,
                sources=sources.take(pa.array(part)),
                flags=flags.take(pa.array(part)),
                digests=rows_at(digests, part),
            )
    return writer.finish(by_content=True)


def _classes_of(names: Sequence[str]) -> _Classes:
    """names: sorted."""
    codes = np.full(len(names), -1, dtype=np.int64)
    known: dict[str, int] = {}
    for begin, end in sorted_runs(names, 2):
        if (name := class_of(names[begin])) is not None:
            codes[begin:end] = known.setdefault(name, len(known))
    return _Classes(codes, tuple(known))


def _flags(read: ReadFiles, chosen: _Chosen) -> pa.DictionaryArray:
    """The words for each of the chosen files."""
    texts = {"": 0}
    codes = np.zeros(len(chosen.files), dtype=np.int64)
    flagged = np.fromiter(read.files.flags.keys() | chosen.near_flags.keys(), dtype=np.int64)
    for index in np.flatnonzero(np.isin(chosen.files, flagged)).tolist():
        row = int(chosen.files[index])
        both = (read.files.flags.get(row, ""), chosen.near_flags.get(row, ""))
        codes[index] = texts.setdefault(" ".join(word for word in both if word), len(texts))
    return dictionary_column(codes, tuple(texts))


def _sizes(read: ReadFiles, rows: Indices) -> tuple[tuple[int, int, int], ...]:
    size = read.files.records["width"][rows].astype(np.int64) << 32 | read.files.records["height"][rows]
    both, counts = np.unique(size, return_counts=True)
    return tuple(zip((both >> 32).tolist(), (both & 0xFFFFFFFF).tolist(), counts.tolist(), strict=True))


def _duplicate_files(
    names: Sequence[str], classes: _Classes, given: GivenSides, same: Duplicates
) -> list[RejectedFile]:
    files = []
    for row, kept in same.of.items():
        is_in_test = (given[kept], given[row]) == (GIVEN["test"], GIVEN["train"])
        reason: Reason = "in_test" if is_in_test else "duplicate"
        files.append(RejectedFile(names[row], reason, f"of {names[kept]}"))
    for rows in same.contradicting:
        named = ", ".join(sorted({classes.of(row) for row in rows}))
        files += [RejectedFile(names[row], "two_labels", f"the same pixels stand under {named}") for row in rows]
    return files


def _same_names(found: RawImages, read: ReadFiles, decoded: Indices) -> dict[int, RejectedFile]:
    """Images that have another one's name but not its pixels, by row: the file counts, then the first pack."""
    digests = read.files.records["sha256"]
    twins: dict[int, RejectedFile] = {}
    if not found.packs or len(set(found.names)) == len(found):  # nearly always, and quickly told
        return twins
    first = -1
    for row in decoded.tolist():
        if first < 0 or found.names[row] != found.names[first]:
            first = row
        elif (digests[row] != digests[first]).any():
            detail = f"in {found.packs[found.pack[row]]}; another image of this name counts"
            twins[row] = RejectedFile(found.names[row], "same_name", detail)
    return twins


def _check_all_or_none_labelled(raw: Path, files: Sequence[str], classes: _Classes) -> None:
    without = np.flatnonzero(classes.codes < 0)
    if 0 < len(without) < len(files):
        raise ValueError(
            f"{raw}: {len(files) - len(without):,} images lie in class folders (NAME/CLASS/file), {len(without):,} "
            f"do not, first {files[without[0]]}; give all of them a class folder, or none"
        )


def _check_rejected_share(rejected: Sequence[RejectedFile], total_files: int, max_share: float) -> None:
    faulty = [file for file in rejected if file.reason not in HARMLESS]
    if len(faulty) <= max_share * total_files:
        return
    counts = ", ".join(f"{reason} {count:,}" for reason, count in Counter(file.reason for file in faulty).most_common())
    first = "".join(f"\n  {file.source}: {file.reason}: {file.detail}" for file in faulty[:10])
    raise ValueError(
        f"{len(faulty):,} of {total_files:,} images were rejected, more than data.max_rejected_share "
        f"({max_share:g}) allows: {counts}; mend or remove them, or allow more. The first:{first}"
    )


def _write_rejected(path: Path, rejected: Sequence[RejectedFile]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["source", "reason", "detail"])
        table.writerows((item.source, item.reason, item.detail) for item in rejected)
