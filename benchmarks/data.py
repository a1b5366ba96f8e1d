"""What preparing a growing dataset costs, beside what people use instead, on the same files in the same run.

    python -m benchmarks.data --data ../shared/data [--images 60000] [--rounds 3] [--tenfold]

Makes the files of Fashion-MNIST as PNG in a temporary folder, and prints a table a question. Medians of `rounds`. Times
are wall-clock without the interpreter's start, but with that of the decoding processes; peak memory is the sum over the
process and its children, sampled every 50 ms.
"""

import argparse
import io
import random
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.data_runs import (
    ROOT,
    WORKERS,
    config_of,
    folder_bytes,
    grown_bytes,
    run,
    timed,
    write_png,
)
from benchmarks.fashion_mnist import fashion_mnist_split
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.loader import Batches, MappedBatches, ResidentBatches
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tenfold", action="store_true", help="ten times the images too (10 GB of files, minutes)")
    parser.add_argument("--only", choices=["prepare", "photos", "loader"])
    arguments = parser.parse_args()
    torch.set_num_threads(WORKERS)
    with tempfile.TemporaryDirectory() as name:
        if arguments.only in (None, "prepare"):
            measure_prepare(arguments, Path(name))
        if arguments.only in (None, "photos"):
            for image_size in (32, 64):
                measure_photos(arguments, Path(name) / f"photos{image_size}", image_size)
        if arguments.only in (None, "loader"):
            measure_loader(arguments, Path(name) / "loader")


def measure_prepare(arguments: argparse.Namespace, folder: Path) -> None:
    raw, config = folder / "raw", config_of(image_size=ImageSize.square(28))
    images, labels = (part[: arguments.images] for part in fashion_mnist_split(arguments.data, "train"))
    write_png(raw, images, labels)
    seconds, alone = [], []
    for _ in range(arguments.rounds):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        seconds.append(run(raw, folder / "full", config, cache_folder=folder / "cache").seconds)
        alone.append(timed(lambda: image_folder_pass(raw / "fashion")))
    full, other = statistics.median(seconds), statistics.median(alone)
    print(f"\nPrepare {len(images):,} PNG files, {WORKERS} cores        seconds  images/s")
    print(f"  prepare, all checks                       {full:9.2f} {len(images) / full:9,.0f}")
    print(f"  ImageFolder + DataLoader(2), no check     {other:9.2f} {len(images) / other:9,.0f}")

    everything = random.Random(0).sample(sorted(raw.rglob("*.png")), len(images))
    chosen, others = everything[: len(images) // 100], everything[-(len(images) // 100) :]
    held_back = [(path, folder / path.name) for path in chosen]
    for path, aside in held_back:
        path.rename(aside)
    shutil.rmtree(folder / "cache")
    run(raw, folder / "full", config, cache_folder=folder / "cache")
    time.sleep(3)  # what was written just now is not yet known by its times alone
    run(raw, folder / "known", config, cache_folder=folder / "cache", previous=folder / "full")
    rows = []
    for name, change in (
        ("nothing changed", lambda: None),
        ("1% added", lambda: [aside.rename(path) for path, aside in held_back]),
        ("another 1% removed", lambda: [path.unlink() for path in others]),
        ("1% renamed", lambda: [path.rename(path.with_name(f"new-{path.name}")) for path in chosen]),
    ):
        change()
        before = folder / "before"
        shutil.rmtree(before, ignore_errors=True)
        (folder / "known").rename(before)
        done = run(raw, folder / "known", config, cache_folder=folder / "cache", previous=before)
        rows.append((name, done.seconds, grown_bytes(before, folder / "known") / folder_bytes(before)))
    print("\nOne version to the next                      seconds  of a full run  growth of the cache")
    for name, took, growth in rows:
        print(f"  {name:40s}  {took:9.2f}  {took / full:12.1%}  {growth:18.2%}")

    if arguments.tenfold:
        shutil.rmtree(raw)
        for copy in range(10):  # shifted and mirrored: neither the same nor nearly the same
            changed = np.roll(images, 5 * (copy // 2), axis=2)[:, :, :: 1 - 2 * (copy % 2)]
            write_png(raw, changed, labels, source=f"copy{copy}")
        done = run(raw, folder / "tenfold", config, cache_folder=folder / "cache10", watch_memory=True)
        print("\nTen times the images                         seconds  images/s  times one  peak MB")
        print(
            f"  {10 * len(images):,}                                  {done.seconds:9.2f} "
            f"{10 * len(images) / done.seconds:9,.0f} {done.seconds / full:10.1f} {done.peak_mb:8.0f}"
        )


def measure_photos(arguments: argparse.Namespace, folder: Path, image_size: int) -> None:
    with zipfile.ZipFile(arguments.data / "clothing-photos.zip") as archive:
        archive.extractall(folder / "raw")
    photos = sorted((folder / "raw").rglob("*.jpg"))
    for photo in photos:  # several of each, so that the start of processes does not count
        for copy in range(7):
            shutil.copy(photo, photo.with_name(f"{copy}-{photo.name}"))
    photos = sorted((folder / "raw").rglob("*.jpg"))
    config = config_of(image_size=ImageSize.square(image_size), channels=3)
    seconds, alone = [], []
    for _ in range(arguments.rounds):
        seconds.append(run(folder / "raw", folder / "out", config, cache_folder=None).seconds)
        with ProcessPoolExecutor(WORKERS) as pool:
            list(pool.map(decode_only, photos[:8]))  # started and warm
            alone.append(timed(lambda pool=pool: list(pool.map(decode_only, photos, chunksize=16))))
    ours, decoder = statistics.median(seconds), statistics.median(alone)
    print(f"\n{len(photos):,} JPEG photos to {image_size} x {image_size}             seconds  images/s")
    print(f"  prepare, all checks                       {ours:9.2f} {len(photos) / ours:9,.0f}")
    print(f"  the decoder alone, {WORKERS} processes           {decoder:9.2f} {len(photos) / decoder:9,.0f}")


def measure_loader(arguments: argparse.Namespace, folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50_000, 3, 32, 32), dtype=np.uint8)
    writer = DatasetWriter(folder, image_size=ImageSize.square(32), channels=3, classes=(), shard_images=4096)
    writer.add("train", images)
    writer.add("test", images[:1])
    writer.finish()
    dataset = load_dataset(folder)
    same = {"batch_images": 256, "seed": 0, "device": CPU}
    loaders: dict[str, Callable[[], float]] = {
        "in memory": lambda: batches_a_second(ResidentBatches(images, None, **same)),
        "mapped shards": lambda: batches_a_second(MappedBatches(dataset, **same)),
        "torchvision v2 + DataLoader(2)": lambda: data_loader_a_second(images),
    }
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(arguments.rounds):
        for name, measure in loaders.items():
            rates[name].append(measure())
    print("\nBatches of 32 x 32 x 3, flip and crop, 2 cores         images/s")
    for name, values in rates.items():
        print(f"  {name:40s}  {statistics.median(values):18,.0f}")


def image_folder_pass(folder: Path) -> None:
    dataset = ImageFolder(str(folder), transform=v2.Compose([v2.Grayscale(), v2.PILToTensor()]))
    for _ in DataLoader(dataset, batch_size=256, num_workers=WORKERS):
        pass


def decode_only(path: Path) -> int:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        return image.width


def batches_a_second(batches: Batches) -> float:
    batches.at(0)
    steps = len(batches) // 256
    return steps * 256 / timed(lambda: [flip_and_crop(batches.at(step).images, step) for step in range(steps)])


def flip_and_crop(images: torch.Tensor, step: int, margin: int = 4) -> torch.Tensor:
    """A batch (B, C, H, W) uint8, each image flipped or not and shifted by up to `margin` pixels."""
    draw = torch.Generator().manual_seed(step)
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, [margin] * 4)
    top, left = torch.randint(0, 2 * margin + 1, (2, count, 1), generator=draw)
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(torch.rand(count, 1, generator=draw) < 0.5, columns.flip(1), columns) + left
    rows = torch.arange(height).expand(count, height) + top
    flat = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).reshape(count, 1, -1)
    return padded.flatten(2).gather(2, flat.expand(-1, images.shape[1], -1)).view(images.shape)


def data_loader_a_second(images: np.ndarray) -> float:
    change = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()])

    class Changed(TensorDataset):
        def __getitem__(self, index: int) -> torch.Tensor:
            return change(self.tensors[0][index])

    loader = DataLoader(Changed(torch.from_numpy(images)), batch_size=256, shuffle=True, num_workers=WORKERS)
    return len(images) / timed(lambda: [None for _ in loader])


if __name__ == "__main__":
    main()
