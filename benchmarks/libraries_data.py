"""The code of genai_core/data beside what safetensors, pyarrow, tarfile and torch have for the same."""

import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.numpy import load_file, save_file
from torch.utils.data import DataLoader

from benchmarks.libraries_runs import Comparison, compare
from genai_core.data.cache.cache_file import read_cache, write_cache
from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.cache.file_records import RECORDS_DTYPE
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.facts import Digests
from genai_core.data.dataset.loader import MappedBatches
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.data.ingest.packing.pack_writer import PackWriter
from genai_core.data.ingest.packing.packed_images import PackedImages
from genai_core.data.raw.packs import read_pack
from genai_core.image_size import ImageSize

BATCH_IMAGES = 256
SHARD_IMAGES = 4096
MEMBER_BYTES = 500


def compare_data(folder: Path, images: int, rounds: int) -> Iterator[Comparison]:
    """Compare with `images` images or names each. folder: an empty one, for what is read and written."""
    draw = np.random.default_rng(0)
    yield from compare_cache_files(folder, draw, images, rounds)
    yield from compare_hash_search(draw, images, rounds)
    yield from compare_packs(folder / "packs", images, rounds)
    yield compare_batches(folder / "dataset", draw, images, rounds)


def compare_cache_files(folder: Path, draw: np.random.Generator, images: int, rounds: int) -> Iterator[Comparison]:
    """The arrays that prepare keeps for each image, with checksums and without."""
    arrays = {
        "records": np.frombuffer(draw.bytes(images * RECORDS_DTYPE.itemsize), RECORDS_DTYPE),
        "file_sha256": digests_of(draw, images),
        "extensions": np.zeros(images, np.int64),
        "stamps": draw.integers(0, 1 << 62, (images, 4)),
    }
    dtypes = {name: array.dtype for name, array in arrays.items()}
    plain = {name: array.reshape(-1).view(np.uint8) for name, array in arrays.items()}  # it has no compound dtypes
    ours, theirs = folder / "ours.safetensors", folder / "theirs.safetensors"
    yield compare(
        f"cache file of {images:,} images, written with checksums",
        lambda: write_cache(ours, arrays, {}),
        "safetensors",
        lambda: save_file(plain, theirs),
        rounds=rounds,
    )
    yield compare(
        "the same, read", lambda: read_cache(ours, dtypes), "safetensors", lambda: load_file(theirs), rounds=rounds
    )
    found, read = read_cache(ours, dtypes)[0], load_file(theirs)
    assert all(found[name].tobytes() == array.tobytes() == read[name].tobytes() for name, array in arrays.items())


def compare_hash_search(draw: np.random.Generator, images: int, rounds: int) -> Iterator[Comparison]:
    """Hashes among as many, of which 99% are known, and the new 1% alone."""
    new = max(1, images // 100)
    known = digests_of(draw, images)
    wanted = np.concatenate([known[new:], digests_of(draw, new)])
    column, name = of_arrow(known), "pyarrow.compute.index_in"
    for what, digests in (
        (f"{images:,} hashes among {images:,}, 99% known", wanted),
        (f"{new:,} new hashes among {images:,}", wanted[-new:]),
    ):
        index, asked, values = DigestIndex(known), DigestIndex(digests), of_arrow(digests)
        theirs = pc.index_in(values, column).fill_null(-1).to_numpy()
        assert (index.find(asked) == theirs).all()
        yield compare(
            what,
            lambda index=index, asked=asked: index.find(asked),
            name,
            lambda values=values: pc.index_in(values, column),
            rounds=rounds,
        )
    yield compare(
        f"{images:,} hashes among {images:,}, both sorted first",
        lambda: DigestIndex(known).find(DigestIndex(wanted)),
        name,
        lambda: pc.index_in(of_arrow(wanted), of_arrow(known)),
        rounds=rounds,
    )


def compare_packs(folder: Path, images: int, rounds: int) -> Iterator[Comparison]:
    """The headers of a tar file, and names looked up one at a time in what was read."""
    writer = PackWriter(folder, first_number=0)
    for number in range(images):
        writer.add(f"{number % 10}/{number:06d}.png", number.to_bytes(8) * (MEMBER_BYTES // 8))
    (name,) = writer.finish()
    pack = read_pack(folder / name)
    assert [*zip(pack.names, pack.offsets, pack.sizes, strict=True)] == tar_members(folder / name)
    yield compare(
        f"headers of a tar file with {images:,} members",
        lambda: read_pack(folder / name),
        "tarfile",
        lambda: tar_members(folder / name),
        rounds=rounds,
    )
    packed, asked, column = PackedImages(folder, None), list(pack.names)[:1000], pack.names.column
    for theirs in asked[::100]:
        found = packed.find(theirs)
        assert found is not None
        assert found.offset == pack.offsets[pc.index_in(pa.scalar(theirs, column.type), column).as_py()]
    yield compare(
        f"one name among {images:,}",
        lambda: [packed.find(name) for name in asked],
        "pyarrow.compute.index_in",
        lambda: pc.index_in(pa.scalar(asked[-1], column.type), column),
        rounds=rounds,
        repeats=(len(asked), 1),
    )
    yield compare(
        f"{len(asked):,} names among {images:,}, and the dict for them",
        lambda: looked_up(dict(zip(pack.names, range(len(pack.names)), strict=True)), asked),
        "one call of index_in",
        lambda: pc.index_in(pa.array(asked, column.type), column),
        rounds=rounds,
    )


def compare_batches(folder: Path, draw: np.random.Generator, images: int, rounds: int) -> Comparison:
    """An epoch of training batches, read from the shards of a dataset; the order of images is the same."""
    writer = DatasetWriter(folder, image_size=ImageSize.square(32), channels=3, classes=(), shard_images=SHARD_IMAGES)
    for begin in range(0, images, SHARD_IMAGES):
        writer.add("train", draw.integers(0, 256, (min(SHARD_IMAGES, images - begin), 3, 32, 32), dtype=np.uint8))
    writer.add("test", np.zeros((1, 3, 32, 32), np.uint8))
    writer.finish()
    dataset = load_dataset(folder)
    batches = MappedBatches(dataset, batch_images=BATCH_IMAGES, seed=0, device=torch.device("cpu"))
    steps = max(1, images // BATCH_IMAGES)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(0)).tolist()
    sampler = [order[begin : begin + BATCH_IMAGES] for begin in range(0, steps * BATCH_IMAGES, BATCH_IMAGES)]
    shards = Shards(dataset)
    first, sorted_first = next(iter(DataLoader(shards, batch_sampler=sampler, collate_fn=as_is))), sorted(sampler[0])
    assert (first[np.argsort(sampler[0])].numpy() == dataset.images("train")[sorted_first]).all()
    return compare(
        f"batches of {BATCH_IMAGES} images of 32 x 32 x 3, {images:,} images, per image",
        lambda: consume(batches.at(step) for step in range(steps)),
        "DataLoader with a batch sampler",
        lambda: consume(DataLoader(shards, batch_sampler=sampler, collate_fn=as_is)),
        rounds=rounds,
        repeats=(steps * BATCH_IMAGES,) * 2,
    )


class Shards(torch.utils.data.Dataset[torch.Tensor]):
    """A dataset's train split for a DataLoader: a whole batch by its indices, shard by shard."""

    def __init__(self, dataset: Dataset) -> None:
        rows = dataset.rows("train")
        names = list(dict.fromkeys(rows["shard"]))
        self._shards = [dataset.shard(str(name)) for name in names]
        self._codes = rows["shard"].map({name: code for code, name in enumerate(names)}).to_numpy()
        self._rows = rows["row"].to_numpy()

    def __getitems__(self, indices: list[int]) -> torch.Tensor:
        codes, rows = self._codes[indices], self._rows[indices]
        images = np.empty((len(indices), *self._shards[0].shape[1:]), np.uint8)
        for code in np.unique(codes):
            wanted = np.flatnonzero(codes == code)
            images[wanted] = self._shards[code][rows[wanted]]
        return torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self._rows)


def consume(batches: Iterable[object]) -> None:
    """As a training does: no batch is kept."""
    deque(batches, maxlen=0)


def as_is(batch: torch.Tensor) -> torch.Tensor:
    return batch


def digests_of(draw: np.random.Generator, count: int) -> Digests:
    return np.frombuffer(draw.bytes(count * 32), np.uint8).reshape(-1, 32)


def of_arrow(digests: Digests) -> pa.FixedSizeBinaryArray:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), [None, pa.py_buffer(digests)])


def tar_members(path: Path) -> list[tuple[str, int, int]]:
    """Name, begin and length in bytes of the content of each member."""
    with tarfile.open(path, "r:") as file:
        return [(member.name, member.offset_data, member.size) for member in file]


def looked_up(rows: dict[str, int], names: list[str]) -> list[int]:
    return [rows[name] for name in names]
