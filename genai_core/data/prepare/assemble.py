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
from genai_core.data.dataset.dataset import SPLITS, DatasetInfo
from genai_core.data.dataset.facts import Facts, Indices, facts_dtype, pieces_of, rows_at
from genai_core.data.dataset.layout import OldShard, images_per_shard, shards_to_keep
from genai_core.data.dataset.writer import ROWS_SCHEMA, DatasetWriter, dictionary_column, one_text
from genai_core.data.prepare.pixel_store import OldPixels
from genai_core.data.prepare.read_files import ReadFiles
from genai_core.data.prepare.split import Sides
from genai_core.data.raw.images import RawImages


@dataclass(frozen=True)
class Chosen:
    """Files in the dataset: indices (N,), whether each is held out, and flags by index."""

    files: Indices
    held_out: Sides
    near_flags: dict[int, str]


def assemble(
    folder: Path,
    found: RawImages,
    read: ReadFiles,
    chosen: Chosen,
    labels: Indices,
    classes: tuple[str, ...],
    config: DataConfig,
) -> DatasetInfo:
    """Write the chosen images and their manifest into `folder`. labels (N,): of each file, into `classes`."""
    image_bytes = config.channels * config.image_size**2
    shard_images = images_per_shard(config.shard_images, image_bytes)
    writer = DatasetWriter(
        folder,
        image_size=config.image_size,
        channels=config.channels,
        classes=classes,
        shard_images=shard_images,
    )
    old, index = read.old, read.index.at(chosen.files)
    flags = _flags(read, chosen)
    old_place = read.old_place[chosen.files]
    unknown = np.flatnonzero(old_place < 0)
    old_place[unknown] = old.find(DigestIndex(rows_at(index.digests, unknown)))
    for split in SPLITS:
        ours = index.order[chosen.held_out[index.order] == (split == "test")]
        place = old_place[ours]
        elsewhere = np.flatnonzero(place >= 0)
        elsewhere = elsewhere[old.is_train[place[elsewhere]] != (split == "train")]
        place[elsewhere] = old.find(DigestIndex(rows_at(index.digests, ours[elsewhere])), split)
        stays = _stays(old, place, shard_images, config)
        at = place[stays]
        shard_code, row = np.empty((2, len(ours)), dtype=np.int64)
        shard_code[stays], row[stays] = old.shard_code[at], old.row[at]
        if old.folder is not None:
            writer.link_shards(old.folder, [old.shards[code] for code in np.unique(shard_code[stays]).tolist()])
        shard_names, new_facts = list(old.shards), [np.empty(0, dtype=facts_dtype(config.channels))]
        new = np.flatnonzero(~stays)
        for begin in range(0, len(new), shard_images):
            part = new[begin : begin + shard_images]
            pixels = read.pixels_at(chosen.files[ours[part]])
            name, facts = writer.write_shard(pixels, rows_at(index.digests, ours[part]))
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
        writer.place(pa.table(rows, schema=ROWS_SCHEMA), partial(_facts, old, stays, at, new_facts))
    return writer.finish()


def _facts(old: OldPixels, stays: npt.NDArray[np.bool_], at: Indices, new: Sequence[Facts]) -> Facts:
    """Return the facts of a split's images (N,): old ones from their places `at`, new ones in order."""
    facts = np.empty(len(stays), dtype=old.facts.dtype)
    pieces_of(facts)[stays] = pieces_of(rows_at(old.facts, at))
    pieces_of(facts)[~stays] = pieces_of(np.concatenate(new))
    return facts


def _stays(old: OldPixels, place: Indices, shard_images: int, config: DataConfig) -> npt.NDArray[np.bool_]:
    """Return which of a split's images stay in their shards. place (N,): index among the old images, or -1."""
    wanted = np.bincount(old.shard_code[place[place >= 0]], minlength=len(old.shards))
    shards = map(OldShard, old.shards, old.lengths.tolist(), wanted.tolist())
    names = shards_to_keep(
        list(shards),
        split_images=len(place),
        shard_images=shard_images,
        max_removed_share=config.max_removed_share,
    )
    stays = place >= 0
    stays[stays] = np.isin(old.shard_code[place[stays]], [old.shards.index(name) for name in names])
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
