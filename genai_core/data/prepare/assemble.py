"""Assign the chosen images to shards: keep the previous version's where possible, write new ones for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from genai_core.config import DataConfig
from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.dataset.dataset import CAPTIONS, SPLITS, DatasetInfo
from genai_core.data.dataset.facts import Facts, Indices, as_opaque, facts_dtype, take_rows
from genai_core.data.dataset.layout import PreviousShard, images_per_shard, shards_to_keep
from genai_core.data.dataset.writer import ROWS_SCHEMA, DatasetWriter, dictionary_column, one_text
from genai_core.data.prepare.pixel_store import PreviousPixels
from genai_core.data.prepare.read_files import ReadFiles
from genai_core.data.prepare.split import HeldOut
from genai_core.data.raw.images import RawImages


@dataclass(frozen=True)
class Chosen:
    """Files in the dataset: indices (N,), whether each is held out, and flags by index."""

    files: Indices
    held_out: HeldOut
    near_flags: dict[int, str]


def assemble(
    folder: Path,
    found: RawImages,
    read: ReadFiles,
    chosen: Chosen,
    labels: Indices,
    classes: tuple[str, ...],
    config: DataConfig,
    captions: pa.ListArray | None,
) -> DatasetInfo:
    """Write the chosen images and their manifest into `folder`.

    labels, captions (N,): of each file; labels are indices into `classes`, captions None if there are none.
    """
    image_bytes = config.channels * config.image_size.pixels
    shard_images = images_per_shard(config.shard_images, image_bytes)
    writer = DatasetWriter(
        folder,
        image_size=config.image_size,
        channels=config.channels,
        classes=classes,
        shard_images=shard_images,
    )
    previous, index = read.previous, read.index.at(chosen.files)
    flags = _flags(read, chosen)
    previous_index = read.previous_index[chosen.files]
    unknown = np.flatnonzero(previous_index < 0)
    previous_index[unknown] = previous.find(DigestIndex(take_rows(index.digests, unknown)))
    for split in SPLITS:
        ours = index.order[chosen.held_out[index.order] == (split == "test")]
        matches = previous_index[ours]
        elsewhere = np.flatnonzero(matches >= 0)
        elsewhere = elsewhere[previous.is_train[matches[elsewhere]] != (split == "train")]
        matches[elsewhere] = previous.find(DigestIndex(take_rows(index.digests, ours[elsewhere])), split)
        stays = _stays(previous, matches, shard_images, config)
        at = matches[stays]
        shard_code, row = np.empty((2, len(ours)), dtype=np.int64)
        shard_code[stays], row[stays] = previous.shard_code[at], previous.row[at]
        if previous.folder is not None:
            writer.link_shards(
                previous.folder, [previous.shards[code] for code in np.unique(shard_code[stays]).tolist()]
            )
        shard_names, new_facts = list(previous.shards), [np.empty(0, dtype=facts_dtype(config.channels))]
        new = np.flatnonzero(~stays)
        for begin in range(0, len(new), shard_images):
            part = new[begin : begin + shard_images]
            pixels = read.pixels_at(chosen.files[ours[part]])
            name, facts = writer.write_shard(pixels, take_rows(index.digests, ours[part]))
            shard_code[part], row[part] = len(shard_names), np.arange(len(part))
            shard_names.append(name)
            new_facts.append(facts)
        rows = {
            "id": pa.repeat(pa.scalar("", pa.large_string()), len(ours)),
            "label": pa.array(labels[ours], pa.int64()),
            "split": one_text(split, len(ours)),
            "source": found.names.at(chosen.files[ours]).column,
            "shard": dictionary_column(shard_code, shard_names),
            "row": pa.array(row),
            "flags": flags.take(pa.array(ours)),
        }
        table = pa.table(rows, schema=ROWS_SCHEMA)
        if captions is not None:
            table = table.append_column(CAPTIONS, captions.take(pa.array(ours)))
        writer.add_rows(table, partial(_facts, previous, stays, at, new_facts))
    return writer.finish()


def _facts(previous: PreviousPixels, stays: npt.NDArray[np.bool_], at: Indices, new: Sequence[Facts]) -> Facts:
    """Return the facts of a split's images (N,): previous ones at the indices `at`, new ones in order."""
    facts = np.empty(len(stays), dtype=previous.facts.dtype)
    as_opaque(facts)[stays] = as_opaque(take_rows(previous.facts, at))
    as_opaque(facts)[~stays] = as_opaque(np.concatenate(new))
    return facts


def _stays(previous: PreviousPixels, matches: Indices, shard_images: int, config: DataConfig) -> npt.NDArray[np.bool_]:
    """Return which of a split's images stay in their shards. matches (N,): index among the previous images, or -1."""
    wanted = np.bincount(previous.shard_code[matches[matches >= 0]], minlength=len(previous.shards))
    shards = map(PreviousShard, previous.shards, previous.lengths.tolist(), wanted.tolist())
    names = shards_to_keep(
        list(shards),
        split_images=len(matches),
        shard_images=shard_images,
        max_removed_share=config.max_removed_share,
    )
    stays = matches >= 0
    stays[stays] = np.isin(previous.shard_code[matches[stays]], [previous.shards.index(name) for name in names])
    return stays


def _flags(read: ReadFiles, chosen: Chosen) -> pa.DictionaryArray:
    """Return the flags of each chosen file as text."""
    texts = {"": 0}
    codes = np.zeros(len(chosen.files), dtype=np.int64)
    flagged = np.fromiter(read.files.flags.keys() | chosen.near_flags.keys(), dtype=np.int64)
    for index in np.flatnonzero(np.isin(chosen.files, flagged)).tolist():
        row = int(chosen.files[index])
        both = (read.files.flags.get(row, ""), chosen.near_flags.get(row, ""))
        codes[index] = texts.setdefault(" ".join(word for word in both if word), len(texts))
    return dictionary_column(codes, tuple(texts))
