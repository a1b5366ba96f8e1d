"""From raw files to a dataset: decode, reject, drop duplicates, split train from test, write shards.

Nothing depends on the order of the file system or of the workers. The contents of the dataset (images, order, labels,
splits) are a function of the raw files and of the decoding libraries (decoding/versions.py). The assignment to shards
follows the previous version (dataset/layout.py), so a small change of the raw data is a small change of the dataset.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from genai_core.config import DataConfig
from genai_core.data.cache.file_records import RecordCache
from genai_core.data.dataset.card import REJECTED_FILE
from genai_core.data.dataset.dataset import NO_LABEL, DatasetInfo
from genai_core.data.dataset.facts import Indices
from genai_core.data.decoding.pool import Worker, start_workers
from genai_core.data.decoding.versions import write_decoders
from genai_core.data.prepare.assemble import Chosen, assemble
from genai_core.data.prepare.captions import captions_of
from genai_core.data.prepare.duplicates import find_duplicates
from genai_core.data.prepare.near_groups import NearCache, find_near_duplicates, near_flags
from genai_core.data.prepare.pixel_store import DamagedShardError, PreviousPixels, Spool
from genai_core.data.prepare.read_files import ReadFiles, decode_rule, read_files
from genai_core.data.prepare.rejected import check_rejected_share, duplicate_files, same_names, write_rejected
from genai_core.data.prepare.split import (
    GivenSplits,
    HeldOut,
    check_both_splits,
    is_held_out,
    ranks,
    train_images_near_test,
)
from genai_core.data.raw.classes import Classes, check_all_or_none_labelled, classes_of
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.images import RawImages, find_raw_images
from genai_core.data.raw.source_json import given_splits


@dataclass(frozen=True)
class Prepared:
    """Result of preparing the raw data."""

    info: DatasetInfo
    total_files: int  # images found
    rejected: tuple[RejectedFile, ...]
    skipped: dict[str, int]  # files without an image extension, hidden files
    untrained: tuple[str, ...]  # classes too small to have a training image
    lost: tuple[str, ...]  # classes without a usable image
    sizes: tuple[tuple[int, int, int], ...]  # width, height and number of the files in the dataset


def prepare(
    raw: Path,
    folder: Path,
    config: DataConfig,
    *,
    workers: int,
    previous: Path | None = None,
    cache_folder: Path | None = None,
    indexes: Path | None = None,
    on_decoded: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Make a dataset in the empty `folder` from the images below `raw`; calls on_decoded(done, total), from 0.

    previous: folder of the previous version, if any; its shards are reused where possible. cache_folder, indexes: cache
    folders for images and packs; results do not depend on them. Raises ValueError when the images cannot make a
    dataset: there are none, too many are rejected, only some have a class, or all but one are the same.
    """

    def make() -> Prepared:
        return _prepare(raw, folder, config, workers, previous, cache_folder, indexes, on_decoded)

    try:
        return make()
    except DamagedShardError:  # now every shard is hashed, so nothing from the damaged one is used
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return make()


def _prepare(
    raw: Path,
    folder: Path,
    config: DataConfig,
    workers: int,
    previous: Path | None,
    cache_folder: Path | None,
    indexes: Path | None,
    on_decoded: Callable[[int, int], None] | None,
) -> Prepared:
    rule = decode_rule(config)
    started: list[Worker] = []
    executor = ThreadPoolExecutor(1)
    previous_pixels = cache(lambda: PreviousPixels(previous, config.image_size, config.channels, cache_folder))
    near = cache(lambda: NearCache(cache_folder, config.near_duplicate_distance))

    def start_early(files: Sequence[str], packs: Sequence[str]) -> None:
        # Decoding processes start while caches are searched. Without them, a core is free to load the caches early.
        if cache_folder is None or RecordCache(cache_folder, rule).lacks_any(raw, files, packs):
            started.extend(start_workers(rule, workers))
        else:
            executor.submit(previous_pixels)
            executor.submit(near)

    with ExitStack() as exit_stack:
        exit_stack.enter_context(executor)
        exit_stack.callback(lambda: [*map(Worker.close, started), *map(Worker.wait, started)])
        found = find_raw_images(raw, indexes, on_listed=start_early)
        spool = exit_stack.enter_context(Spool(folder / ".spool", config.image_size, config.channels))
        classes = classes_of(found.names)
        check_all_or_none_labelled(raw, found.names, classes)
        given = given_splits(raw, found.names)
        read = read_files(
            found,
            config,
            spool=spool,
            load_previous=lambda: executor.submit(previous_pixels).result(),
            cache_folder=cache_folder,
            workers=workers,
            started=started,
            on_decoded=on_decoded or (lambda _done, _total: None),
            on_known=lambda known: executor.submit(near).result().look_up(known),
        )
        with near() as near_cache:
            return _make(folder, found, classes, given, read, config, near_cache)


def _make(
    folder: Path,
    found: RawImages,
    classes: Classes,
    given: GivenSplits,
    read: ReadFiles,
    config: DataConfig,
    near: NearCache,
) -> Prepared:
    total_files = len(found) + sum(file.reason != "bad_caption" for file in found.rejected)
    is_decoded = np.ones(len(found), dtype=np.bool_)
    is_decoded[list(read.files.rejected)] = False
    decoded = np.flatnonzero(is_decoded)
    same_name = same_names(found, read, decoded)
    decoded = np.setdiff1d(decoded, list(same_name)) if same_name else decoded
    held_out = is_held_out(read.index.digests, config.test_share, given)
    same = find_duplicates(read.index, classes.codes, ranks(held_out, given), decoded)
    rejected = [*found.rejected, *same_name.values()]
    rejected += [RejectedFile(found.names[row], *rejection) for row, rejection in read.files.rejected.items()]
    rejected += duplicate_files(found.names, classes, held_out, same)
    check_rejected_share(sorted(rejected, key=lambda file: file.source), total_files, config.max_rejected_share)

    check_both_splits(held_out[same.kept], given[same.kept], config.test_share)
    chosen, dropped = _choose(read, same.kept, held_out[same.kept], config, found.names, near)
    rejected = sorted(rejected + dropped, key=lambda file: file.source)
    codes = classes.codes[chosen.files]
    images = np.bincount(codes[codes >= 0], minlength=len(classes.names))
    present = tuple(sorted(name for name, count in zip(classes.names, images.tolist(), strict=True) if count))
    numbers = np.array([present.index(name) if name in present else NO_LABEL for name in classes.names] + [NO_LABEL])
    labels = numbers[codes]
    captions = captions_of(found.captions, chosen.files, same.of)
    info = assemble(folder, found, read, chosen, labels, present, config, captions)
    write_rejected(folder / REJECTED_FILE, rejected)
    write_decoders(folder)
    trained = np.bincount(labels[~chosen.held_out] + 1, minlength=1 + len(present))[1:]
    untrained = tuple(name for name, count in zip(present, trained.tolist(), strict=True) if not count)
    lost = tuple(sorted(set(classes.names) - set(present)))
    return Prepared(info, total_files, tuple(rejected), found.skipped, untrained, lost, _sizes(read, chosen.files))


def _choose(
    read: ReadFiles,
    kept: Indices,
    held_out: HeldOut,
    config: DataConfig,
    names: Sequence[str],
    near: NearCache,
) -> tuple[Chosen, list[RejectedFile]]:
    """Choose from the files `kept`: drop training images that look like a test image."""
    index = read.index.at(kept)
    if config.near_duplicate_distance is None:
        return Chosen(kept, held_out, {}), []
    values = config.channels * config.image_size.pixels
    near_hashes, totals, squares = (read.files.records[name][kept] for name in ("near_hash", "total", "squares"))
    means = totals / values
    deviations = np.sqrt(values * squares - totals**2) / values
    pairs = find_near_duplicates(
        index,
        near_hashes,
        means,
        deviations,
        lambda indices: read.pixels_at(kept[indices]),
        distance=config.near_duplicate_distance,
        cached=near,
        is_seen=near.is_seen[kept],
    )
    gone = train_images_near_test(pairs, held_out)
    stays = np.ones(len(kept), dtype=np.bool_)
    stays[list(gone)] = False
    if held_out[stays].all():  # a dataset needs a training image, even one that looks like a test image
        return Chosen(kept, held_out, {}), []
    dropped = [
        RejectedFile(names[kept[one]], "near_duplicate", f"looks like {names[kept[other]]}, which is held out")
        for one, other in gone.items()
    ]
    flags = near_flags(pairs[stays[pairs].all(axis=1)], index)
    return Chosen(kept[stays], held_out[stays], {int(kept[index]): word for index, word in flags.items()}), dropped


def _sizes(read: ReadFiles, rows: Indices) -> tuple[tuple[int, int, int], ...]:
    size = read.files.records["width"][rows].astype(np.int64) << 32 | read.files.records["height"][rows]
    both, counts = np.unique(size, return_counts=True)
    return tuple(zip((both >> 32).tolist(), (both & 0xFFFFFFFF).tolist(), counts.tolist(), strict=True))
