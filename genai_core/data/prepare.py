"""From raw files to a dataset: decode, reject, drop duplicates, split train from test, write shards.

The pixels wait in a file between decoding and writing (the spool), so that memory stays bounded while every image is
known before the first decision is made. Nothing depends on the order of the file system or of the workers.
"""

import csv
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genai_core.config import DataConfig
from genai_core.data.card import REJECTED_FILE
from genai_core.data.dataset import DatasetInfo, DatasetWriter, Pixels, Split
from genai_core.data.decode import Decoded, DecodeRule, Reason, Rejected
from genai_core.data.decoder_pool import decode_files
from genai_core.data.source_json import given_splits
from genai_core.data.sources import class_of, find_images

# Which of several files with the same pixels is kept: what is held out must not be trained on.
_RANK: dict[Split | None, int] = {"test": 0, "train": 1, None: 2}

# Reasons for which a file is left out although nothing is wrong with it.
HARMLESS: tuple[Reason, ...] = ("duplicate", "in_test")


@dataclass(frozen=True)
class RejectedFile:
    source: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Prepared:
    """What was made of the raw data."""

    info: DatasetInfo
    total_files: int  # image files found
    rejected: tuple[RejectedFile, ...]
    skipped: dict[str, int]  # files that are no images by their name, links, hidden files
    untrained: tuple[str, ...]  # classes so small that none of their images is for training


@dataclass(frozen=True)
class _Kept:
    source: str
    label: str | None
    sha256: str
    flags: str
    spool_row: int
    given: Split | None = None  # the side that its source says, or None: its content decides


def prepare(
    raw: Path, folder: Path, config: DataConfig, *, workers: int, on_decoded: Callable[[int, int], None] | None = None
) -> Prepared:
    """Make the dataset `folder` (there, and empty) of the images below `raw`; on_decoded(done, total) follows,
    from 0.

    Raises ValueError when the images cannot make a dataset: none, too many rejected, some with a class and some
    without, all but one the same.
    """
    found = find_images(raw)
    labels = [class_of(path) for path in found.files]
    given = given_splits(raw, found.files)
    _check_all_or_none_labelled(raw, found.files, labels)
    total_files = len(found.files) + len(found.bad_names)
    rejected = [RejectedFile(name, "bad_name", "no UTF-8, or control characters") for name in found.bad_names]

    spool = folder / ".spool"
    results = _decode_to_spool(raw, found.files, spool, config, workers, on_decoded)
    decoded = []
    for row, (path, label, result) in enumerate(zip(found.files, labels, results, strict=True)):
        if isinstance(result, Rejected):
            rejected.append(RejectedFile(path, result.reason, result.detail))
        else:
            decoded.append(_Kept(path, label, result.sha256, " ".join(result.flags), row, given[row]))
    kept, same = drop_duplicates(decoded)
    rejected = sorted(rejected + same, key=lambda file: file.source)
    _check_rejected_share(rejected, total_files, config.max_rejected_share)

    splits = split_by_content([image.sha256 for image in kept], config.test_share, [image.given for image in kept])
    classes = tuple(sorted({image.label for image in kept if image.label is not None}))
    info = _write(folder, spool, kept, splits, classes, config)
    spool.unlink()
    _write_rejected(folder / REJECTED_FILE, rejected)
    trained = {image.label for image, split in zip(kept, splits, strict=True) if split == "train"}
    return Prepared(info, total_files, tuple(rejected), found.skipped, tuple(c for c in classes if c not in trained))


def drop_duplicates(images: Sequence[_Kept]) -> tuple[list[_Kept], list[RejectedFile]]:
    """Keep the first of several files with the same pixels; none of them when they have different labels.

    One that its source holds out goes before all, one that it gives for training before those without a side.

    "The same" is after decoding and resizing, as a model sees them: the same picture saved as PNG and as BMP would
    otherwise stand in train and in test.
    """
    first: dict[str, _Kept] = {}
    labels: dict[str, set[str | None]] = {}
    for image in images:
        if image.sha256 not in first or _RANK[image.given] < _RANK[first[image.sha256].given]:
            first[image.sha256] = image
        labels.setdefault(image.sha256, set()).add(image.label)
    kept: list[_Kept] = []
    rejected: list[RejectedFile] = []
    for image in images:
        claimed = labels[image.sha256]
        if len(claimed) > 1:
            named = ", ".join(sorted(label for label in claimed if label is not None))
            rejected.append(RejectedFile(image.source, "two_labels", f"the same pixels stand under {named}"))
        elif first[image.sha256] is image:
            kept.append(image)
        else:
            chosen = first[image.sha256]
            reason: Reason = "in_test" if chosen.given == "test" and image.given == "train" else "duplicate"
            rejected.append(RejectedFile(image.source, reason, f"of {chosen.source}"))
    return kept, rejected


def split_by_content(
    hashes: Sequence[str], test_share: float, given: Sequence[Split | None] | None = None
) -> list[Split]:
    """The split of each image: the given one, else from its sha256 alone, so that it stays while the dataset grows.

    Only when a side would be empty, the image nearest to it goes there, if its side is not given. Raises ValueError
    below two images, or when a side has none.
    """
    if len(hashes) < 2:
        raise ValueError(
            f"a dataset needs at least 2 different images, one to train and one to test, got {len(hashes)}"
        )
    # The first 52 bits as a number in 0..1, which is uniform; a float holds them exactly.
    places = [int(sha256[:13], 16) / 16**13 for sha256 in hashes]
    given = given or [None] * len(hashes)
    by_content: list[Split] = ["test" if place < test_share else "train" for place in places]
    splits = [side or by_content[index] for index, side in enumerate(given)]
    free = [index for index, side in enumerate(given) if side is None]
    if "test" not in splits and free:
        splits[min(free, key=places.__getitem__)] = "test"
    if "train" not in splits and free:
        splits[max(free, key=places.__getitem__)] = "train"
    if len(set(splits)) < 2:
        raise ValueError(
            f"all {len(hashes):,} images are given for {splits[0]} (data/raw/NAME/source.json: split); add images for "
            "the other side, or set split to null there"
        )
    return splits


def _check_all_or_none_labelled(raw: Path, files: Sequence[str], labels: Sequence[str | None]) -> None:
    without = [file for file, label in zip(files, labels, strict=True) if label is None]
    if without and len(without) < len(files):
        raise ValueError(
            f"{raw}: {len(files) - len(without):,} images lie in class folders (NAME/CLASS/file), {len(without):,} "
            f"do not, first {without[0]}; give all of them a class folder, or none"
        )


def _decode_to_spool(
    raw: Path,
    files: Sequence[str],
    spool: Path,
    config: DataConfig,
    workers: int,
    on_decoded: Callable[[int, int], None] | None,
) -> list[Decoded | Rejected]:
    """Results in the order of `files`, without their pixels: those of file i are row i of the spool."""
    rule = DecodeRule(config.image_size, config.channels, config.fit, config.background, config.max_megapixels)
    image_bytes = config.channels * config.image_size**2
    results: list[Decoded | Rejected | None] = [None] * len(files)
    done = 0
    report = on_decoded or (lambda _done, _total: None)
    report(0, len(files))
    with spool.open("wb") as file:
        for first, batch in decode_files([raw / path for path in files], rule, workers=workers):
            for row, result in enumerate(batch, start=first):
                if isinstance(result, Decoded):
                    os.pwrite(file.fileno(), result.pixels, row * image_bytes)
                    result = Decoded(b"", result.sha256, result.width, result.height, result.flags)
                results[row] = result
            done += len(batch)
            report(done, len(files))
        # Rows of rejected files are holes; the last one may be.
        file.truncate(len(files) * image_bytes)
    return [result for result in results if result is not None]


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


def _write(
    folder: Path,
    spool: Path,
    kept: Sequence[_Kept],
    splits: Sequence[Split],
    classes: tuple[str, ...],
    config: DataConfig,
) -> DatasetInfo:
    shape = (-1, config.channels, config.image_size, config.image_size)
    pixels: Pixels = np.memmap(spool, dtype=np.uint8, mode="r").reshape(shape)
    writer = DatasetWriter(
        folder,
        image_size=config.image_size,
        channels=config.channels,
        classes=classes,
        shard_images=config.shard_images,
    )
    index = {name: number for number, name in enumerate(classes)}
    sides: tuple[Split, Split] = ("train", "test")
    for side in sides:
        images = [image for image, split in zip(kept, splits, strict=True) if split == side]
        for begin in range(0, len(images), config.shard_images):
            part = images[begin : begin + config.shard_images]
            writer.add(
                side,
                pixels[[image.spool_row for image in part]],
                np.array([index[image.label] for image in part if image.label is not None]) if classes else None,
                sources=[image.source for image in part],
                flags=[image.flags for image in part],
            )
    return writer.finish()


def _write_rejected(path: Path, rejected: Sequence[RejectedFile]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["source", "reason", "detail"])
        table.writerows((item.source, item.reason, item.detail) for item in rejected)
