"""The chosen images in shards: those of the version before stay in theirs where they can, others go into new ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from genai_core.config import DataConfig
from genai_core.data.dataset import SPLITS, DatasetInfo
from genai_core.data.digest_index import DigestIndex
from genai_core.data.facts import Indices, rows_at
from genai_core.data.layout import OldShard, images_a_shard, shards_to_keep
from genai_core.data.raw_images import RawImages
from genai_core.data.read_files import ReadFiles
from genai_core.data.split import Sides
from genai_core.data.writer import ROWS_SCHEMA, DatasetWriter, dictionary_column, one_text


@dataclass(frozen=True)
class Chosen:
    """The files that are in the dataset: indices (N,), whether each is held out, and flags by index."""

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
    """Write the chosen images and their manifest into `folder`. labels (N,): of each chosen file, into `classes`."""
    image_bytes = config.channels * config.image_size**2
    shard_images = images_a_shard(config.shard_images, image_bytes)
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
                "source": found.names.at(chosen.files[ours[stays]]).column,
                "shard": dictionary_column(old.shard_code[at], old.shards),
                "row": pa.array(old.row[at]),
                "flags": flags.take(rows),
            }
            writer.keep_rows(old.folder, pa.table(kept, schema=ROWS_SCHEMA), rows_at(old.facts, at))
        new = ours[~stays]
        for begin in range(0, len(new), shard_images):
            part = new[begin : begin + shard_images]
            writer.add(
                split,
                read.pixels_at(chosen.files[part]),
                labels[part] if classes else None,
                sources=found.names.at(chosen.files[part]).column,
                flags=flags.take(pa.array(part)),
                digests=rows_at(index.digests, part),
            )
    return writer.finish(by_content=True)


def _flags(read: ReadFiles, chosen: Chosen) -> pa.DictionaryArray:
    """The words for each of the chosen files."""
    texts = {"": 0}
    codes = np.zeros(len(chosen.files), dtype=np.int64)
    flagged = np.fromiter(read.files.flags.keys() | chosen.near_flags.keys(), dtype=np.int64)
    for index in np.flatnonzero(np.isin(chosen.files, flagged)).tolist():
        row = int(chosen.files[index])
        both = (read.files.flags.get(row, ""), chosen.near_flags.get(row, ""))
        codes[index] = texts.setdefault(" ".join(word for word in both if word), len(texts))
    return dictionary_column(codes, tuple(texts))
