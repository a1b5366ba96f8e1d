"""From raw files to a dataset: decode, reject, drop duplicates, split train from test, write shards.

Nothing depends on the order of the file system or of the workers. What the dataset says (its images, their order,
labels and splits) is a function of the raw files alone; in which shards the images stand follows the version before
(layout.py), so that a small change of the raw data is a small change of the dataset.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genai_core.config import DataConfig
from genai_core.data.card import REJECTED_FILE
from genai_core.data.dataset import NO_LABEL, SPLITS, Dataset, DatasetInfo, Split
from genai_core.data.decode import Reason
from genai_core.data.duplicates import Duplicates, find_duplicates
from genai_core.data.facts import Indices, order_of
from genai_core.data.layout import OldShard, images_a_shard, shards_to_keep
from genai_core.data.near_groups import find_near_duplicates, near_flags
from genai_core.data.pixel_store import OldPixels, Spool
from genai_core.data.raw_images import RawImages, find_raw_images
from genai_core.data.read_files import ReadFiles, read_files
from genai_core.data.source_json import given_splits
from genai_core.data.sources import class_of, sorted_runs
from genai_core.data.split import Sides, is_held_out, train_images_near_test
from genai_core.data.writer import DatasetWriter

# Reasons for which a file is left out although nothing is wrong with it.
HARMLESS: tuple[Reason, ...] = ("duplicate", "in_test", "near_duplicate")
# Which of several files with the same pixels is kept: what is held out must not be trained on.
RANKS: dict[Split | None, int] = {"test": 0, "train": 1, None: 2}


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


def prepare(
    raw: Path,
    folder: Path,
    config: DataConfig,
    *,
    workers: int,
    previous: Dataset | None = None,
    memory: Path | None = None,
    indexes: Path | None = None,
    on_decoded: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Make the dataset `folder` (there, and empty) of the images below `raw`; on_decoded(done, total) follows, from 0.

    previous: the version before, whose shards are kept where they can be. memory, indexes: folders for what the next run
    need not find out again, of images and of packs; they shape nothing. Raises ValueError when the images cannot make
    a dataset: none, too many rejected, some with a class and some without, all but one the same.
    """
    found = find_raw_images(raw, indexes)
    labels: list[str | None] = []
    for begin, end in sorted_runs(found.names, 2):
        labels += [class_of(found.names[begin])] * (end - begin)
    given = given_splits(raw, found.names)
    _check_all_or_none_labelled(raw, found.names, labels)
    with Spool(folder / ".spool", config.image_size, config.channels) as spool:
        read = read_files(
            found,
            config,
            spool=spool,
            old=OldPixels(previous, config.image_size, config.channels),
            memory=memory,
            workers=workers,
            on_decoded=on_decoded or (lambda _done, _total: None),
        )
        return _make(folder, found, labels, given, read, config, memory)


def _make(
    folder: Path,
    found: RawImages,
    labels: Sequence[str | None],
    given: Sequence[Split | None],
    read: ReadFiles,
    config: DataConfig,
    memory: Path | None,
) -> Prepared:
    total_files = len(found) + len(found.faults)
    codes, names = pd.factorize(np.array(labels, dtype=object))
    decoded = np.flatnonzero(read.files.records["sha256"].any(axis=1))
    twins = _same_names(found, read, decoded)
    decoded = np.setdiff1d(decoded, list(twins)) if twins else decoded
    ranks = np.array([RANKS[side] for side in given], dtype=np.int64)
    same = find_duplicates(read.files.records["sha256"], codes, ranks, decoded)
    faulty = [RejectedFile(fault.source, fault.reason, fault.detail) for fault in found.faults]
    faulty += twins.values()
    faulty += [RejectedFile(found.names[row], r.reason, r.detail) for row, r in read.files.rejected.items()]
    rejected = faulty + _duplicate_files(found.names, labels, given, same)
    _check_rejected_share(sorted(rejected, key=lambda file: file.source), total_files, config.max_rejected_share)

    chosen, left_out = _choose(read, same.kept, given, config, found.names, memory)
    rejected = sorted(rejected + left_out, key=lambda file: file.source)
    classes = tuple(sorted(str(names[code]) for code in np.unique(codes[chosen.files]) if code >= 0))
    numbers = np.array([classes.index(name) if name in classes else NO_LABEL for name in names] + [NO_LABEL])
    rows = pd.DataFrame(
        {
            "id": "",
            "label": numbers[codes[chosen.files]],
            "split": np.where(chosen.held_out, "test", "train"),
            "source": np.array(found.names, dtype=object)[chosen.files],
            "shard": "",
            "row": 0,
            "flags": _flags(read, chosen),
        }
    )
    info = _write(folder, read, chosen, rows, classes, config)
    _write_rejected(folder / REJECTED_FILE, rejected)
    trained = set(rows["label"][rows["split"] == "train"])
    untrained = tuple(name for number, name in enumerate(classes) if number not in trained)
    lost = tuple(sorted({str(name) for name in names} - set(classes)))
    return Prepared(info, total_files, tuple(rejected), found.skipped, untrained, lost, _sizes(read, chosen.files))


def _choose(
    read: ReadFiles,
    kept: Indices,
    given: Sequence[Split | None],
    config: DataConfig,
    names: Sequence[str],
    memory: Path | None,
) -> tuple[_Chosen, list[RejectedFile]]:
    """The split of the files `kept`, without the training images that look like a test image."""
    records = read.files.records[kept]
    held_out = is_held_out(records["sha256"], config.test_share, [given[row] for row in kept.tolist()])
    if config.near_duplicate_distance is None:
        return _Chosen(kept, held_out, {}), []
    values = config.channels * config.image_size**2
    means = records["total"] / values
    deviations = np.sqrt(values * records["squares"] - records["total"] ** 2) / values
    pairs = find_near_duplicates(
        records["sha256"],
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
    flags = near_flags(pairs[stays[pairs].all(axis=1)], records["sha256"])
    return _Chosen(kept[stays], held_out[stays], {int(kept[index]): word for index, word in flags.items()}), left_out


def _write(
    folder: Path, read: ReadFiles, chosen: _Chosen, rows: pd.DataFrame, classes: tuple[str, ...], config: DataConfig
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
    digests = read.files.records["sha256"][chosen.files]
    by_hash = order_of(digests)
    for split in SPLITS:
        ours = by_hash[chosen.held_out[by_hash] == (split == "test")]
        place = read.old.find(digests[ours], split)
        wanted = np.bincount(read.old.shard_code[place[place >= 0]], minlength=len(read.old.shards))
        shards = map(OldShard, read.old.shards, read.old.lengths.tolist(), wanted.tolist())
        names = shards_to_keep(
            list(shards),
            split_images=len(ours),
            shard_images=shard_images,
            max_removed_share=config.max_removed_share,
        )
        kept_codes = [read.old.shards.index(name) for name in names]
        stays = (place >= 0) & np.isin(read.old.shard_code[place] if len(read.old.shards) else place, kept_codes)
        if read.old.dataset is not None and stays.any():
            at = place[stays]
            shard_names = np.array(read.old.shards, dtype=object)[read.old.shard_code[at]]
            writer.keep(read.old.dataset, rows.iloc[ours[stays]].assign(shard=shard_names, row=read.old.row[at]))
        new = ours[~stays]
        for begin in range(0, len(new), shard_images):
            part = new[begin : begin + shard_images]
            writer.add(
                split,
                read.pixels_at(chosen.files[part]),
                rows["label"].to_numpy()[part] if classes else None,
                sources=rows["source"].iloc[part].tolist(),
                flags=rows["flags"].iloc[part].tolist(),
                digests=digests[part],
            )
    return writer.finish(by_content=True)


def _flags(read: ReadFiles, chosen: _Chosen) -> list[str]:
    words = [""] * len(chosen.files)
    flagged = np.array(sorted({*read.files.flags, *chosen.near_flags}), dtype=np.int64)
    for index in np.flatnonzero(np.isin(chosen.files, flagged)).tolist():
        row = int(chosen.files[index])
        both = (read.files.flags.get(row, ""), chosen.near_flags.get(row, ""))
        words[index] = " ".join(word for word in both if word)
    return words


def _sizes(read: ReadFiles, rows: Indices) -> tuple[tuple[int, int, int], ...]:
    size = read.files.records["width"][rows].astype(np.int64) << 32 | read.files.records["height"][rows]
    both, counts = np.unique(size, return_counts=True)
    return tuple(zip((both >> 32).tolist(), (both & 0xFFFFFFFF).tolist(), counts.tolist(), strict=True))


def _duplicate_files(
    names: Sequence[str], labels: Sequence[str | None], given: Sequence[Split | None], same: Duplicates
) -> list[RejectedFile]:
    files = []
    for row, kept in same.of.items():
        reason: Reason = "in_test" if (given[kept], given[row]) == ("test", "train") else "duplicate"
        files.append(RejectedFile(names[row], reason, f"of {names[kept]}"))
    for rows in same.contradicting:
        named = ", ".join(sorted({str(labels[row]) for row in rows}))
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


def _check_all_or_none_labelled(raw: Path, files: Sequence[str], labels: Sequence[str | None]) -> None:
    without = [file for file, label in zip(files, labels, strict=True) if label is None]
    if without and len(without) < len(files):
        raise ValueError(
            f"{raw}: {len(files) - len(without):,} images lie in class folders (NAME/CLASS/file), {len(without):,} "
            f"do not, first {without[0]}; give all of them a class folder, or none"
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
