"""What growing raw data costs: images in packs (`genai data add`), beside plain `dvc add` on a folder of files.

    python -m benchmarks.data_packs --data ../shared/data [--rounds 3] [--only add|prepare|tenfold]

In fresh checkouts in a temporary folder; medians of `rounds`. Commands are timed whole, from their start to their end,
with the processor's time of all their processes in brackets, which counts more where others share the machine; prepare
without the interpreter's start, but with that of the decoding processes.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.data_runs import (
    ROOT,
    WORKERS,
    Took,
    config_of,
    cpu_seconds,
    folder_bytes,
    grown_bytes,
    median,
    run,
    timed,
    write_png,
)
from benchmarks.fashion_mnist import fashion_mnist_split
from genai_core.config import DataConfig
from genai_core.data.ingest.add import add_source
from genai_core.data.ingest.packing.pack_writer import PackWriter
from genai_core.data.ingest.packing.png import encode_png
from genai_core.data.ingest.remove import remove_images
from genai_core.image_size import ImageSize

NEW_IMAGES = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["add", "prepare", "tenfold"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.only in (None, "add"):
            measure_add(arguments, Path(name))
        if arguments.only in (None, "tenfold"):
            measure_tenfold(arguments, Path(name) / "tenfold")
        if arguments.only in (None, "prepare"):  # last: torch comes in here, and its memory
            measure_prepare(arguments, Path(name) / "prepare")


def measure_add(arguments: argparse.Namespace, folder: Path) -> None:
    few, many = arguments.images, 10 * arguments.images
    took = {images: add_and_check(folder / str(images), images, arguments.rounds) for images in (few, many)}
    print(f"\n{NEW_IMAGES:,} new images among              {few:>9,}          {many:>9,}        ratio")
    for what in took[few]:
        small, large = took[few][what], took[many][what]
        ratios = f"{large.seconds / small.seconds:5.2f} ({large.cpu_seconds / small.cpu_seconds:4.2f})"
        print(f"  {what:32s}  {small}  {large}  {ratios}")
    print(f"\nPlain `dvc` on a folder of files, {few:,}")
    for what, plain in plain_dvc(folder / "plain", few).items():
        print(f"  {what:32s}  {plain}", flush=True)


def add_and_check(checkout: Path, images: int, rounds: int) -> dict[str, Took]:
    new_checkout(checkout)
    writer = PackWriter(checkout / "data/raw/set", first_number=0)
    for number, content in synthetic_images(images, seed=0):
        writer.add(f"{number % 10}/{number:07d}.png", content)
    writer.finish()
    genai(checkout, "data", "add", "builtin:digits")
    source = checkout.with_name("source")
    took: dict[str, list[Took]] = {"genai data add": [], "genai plan, after it": [], "genai data add, all known": []}
    for turn in range(rounds):
        for number, content in synthetic_images(NEW_IMAGES, seed=1 + turn):
            path = source / str(number % 10) / f"new-{turn}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        time.sleep(3)  # what was written just now is not yet known by its times alone
        took["genai data add"].append(genai(checkout, "data", "add", str(source), "--as", "set"))
        took["genai plan, after it"].append(genai(checkout, "plan", "prepare"))
        took["genai data add, all known"].append(genai(checkout, "data", "add", str(source), "--as", "set"))
        shutil.rmtree(source)
    shutil.rmtree(checkout)
    return {what: median(values) for what, values in took.items()}


def plain_dvc(checkout: Path, images: int) -> dict[str, Took]:
    new_checkout(checkout)
    for number, content in synthetic_images(images, seed=0):
        path = checkout / "data/raw/set" / str(number % 10) / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    took = {"dvc add, all": dvc(checkout, "add", "data/raw")}
    for number, content in synthetic_images(NEW_IMAGES, seed=1):
        (checkout / "data/raw/set" / str(number % 10) / f"new-{number}.png").write_bytes(content)
    took[f"dvc add, {NEW_IMAGES:,} more"] = dvc(checkout, "add", "data/raw")
    took["dvc status"] = dvc(checkout, "status")
    shutil.rmtree(checkout)
    return took


def measure_prepare(arguments: argparse.Namespace, folder: Path) -> None:
    from benchmarks.data import image_folder_pass

    config = config_of(image_size=ImageSize.square(28))
    images, labels = (part[: arguments.images] for part in fashion_mnist_split(arguments.data, "train"))
    write_png(folder / "files", images, labels)
    packing = timed(lambda: add_source(str(folder / "files/fashion"), folder / "packs"))
    print(f"\nPrepare {len(images):,} PNG images, {WORKERS} cores       seconds (cpu)     images/s")
    alone = "ImageFolder + DataLoader(2), no check"
    seconds: dict[str, list[Took]] = {"from files": [], "from packs": [], alone: []}
    for _ in range(arguments.rounds):
        for raw in ("files", "packs"):
            for old in ("cache", "indexes"):
                shutil.rmtree(folder / old, ignore_errors=True)
            took = run(folder / raw, folder / "full", config, cache_folder=folder / "cache", indexes=folder / "indexes")
            seconds[f"from {raw}"].append(Took(took.seconds, took.cpu_seconds))
        before = cpu_seconds()
        took_seconds = timed(lambda: image_folder_pass(folder / "files/fashion"))
        seconds[alone].append(Took(took_seconds, cpu_seconds() - before))
    for what, values in seconds.items():
        print(f"  {what:38s}  {median(values)} {len(images) / median(values).seconds:9,.0f}")
    print(f"  {'(packing the files, once)':38s}  {packing:7.2f} s {len(images) / packing:17,.0f}", flush=True)
    versions(folder, config, median(seconds["from packs"]))


def versions(folder: Path, config: DataConfig, full: Took) -> None:
    """1% more, 1% less, 1% under other names: each from a prepared dataset."""
    raw, files = folder / "grown", sorted((folder / "files/fashion").rglob("*.png"))
    chosen = random.Random(0).sample(files, len(files) // 50)
    held_back, others = chosen[: len(files) // 100], chosen[len(files) // 100 :]
    for path in held_back:
        move(path, folder / "files", folder / "held_back")
    add_source(str(folder / "files/fashion"), raw)
    for name in ("cache", "indexes"):
        shutil.rmtree(folder / name, ignore_errors=True)
    kept = {"cache_folder": folder / "cache", "indexes": folder / "indexes"}
    gone = [str(path.relative_to(folder / "files/fashion")) for path in others]
    steps: dict[str, Callable[[], object]] = {
        "first, one pack": lambda: None,
        "nothing changed": lambda: None,
        "1% added": lambda: add_source(str(folder / "held_back/fashion"), raw, "fashion", indexes=kept["indexes"]),
        "another 1% removed": lambda: remove_images(raw, "fashion", gone, **kept),
        "1% under other names": lambda: [
            path.rename(path.with_name(f"new-{path.name}")) for path in renamed(raw, folder / "held_back/fashion")
        ],
    }
    print("\nOne version to the next, in packs            seconds (cpu)   of a full run  growth of the cache")
    for name, change in steps.items():
        change()
        time.sleep(3)
        before = folder / "before"
        shutil.rmtree(before, ignore_errors=True)
        previous = (folder / "known").rename(before) if (folder / "known").exists() else None
        took = run(raw, folder / "known", config, previous=previous, **kept)
        growth = f"{grown_bytes(before, folder / 'known') / folder_bytes(before):18.2%}" if previous else ""
        share = f"{took.seconds / full.seconds:7.1%} ({took.cpu_seconds / full.cpu_seconds:5.1%})"
        print(f"  {name:38s}  {Took(took.seconds, took.cpu_seconds)}  {share}  {growth}", flush=True)


def renamed(raw: Path, source: Path) -> list[Path]:
    """The last 1% as files by hand instead of in their pack: the same images, another storage and then other names."""
    names = [str(path.relative_to(source)) for path in source.rglob("*.png")]
    remove_images(raw, "fashion", names)
    shutil.copytree(source, raw / "fashion", dirs_exist_ok=True)
    return [raw / "fashion" / name for name in names]


def measure_tenfold(arguments: argparse.Namespace, folder: Path) -> None:
    config = config_of(image_size=ImageSize.square(28))
    images, labels = (part[: arguments.images] for part in fashion_mnist_split(arguments.data, "train"))
    print("\nPrepare from packs                           seconds  images/s  times (cpu)  peak MB")
    one = 0.0
    for copies in (1, 10):
        raw = folder / str(copies)
        for copy in range(copies):  # shifted and mirrored: neither the same nor nearly the same
            changed = np.roll(images, 5 * (copy // 2), axis=2)[:, :, :: 1 - 2 * (copy % 2)]
            writer = PackWriter(raw / f"copy{copy}", first_number=0)
            for number, (image, label) in enumerate(zip(changed, labels, strict=True)):
                writer.add(f"{label}/{number:06d}.png", encode_png(np.ascontiguousarray(image)))
            writer.finish()
        kept = {"cache_folder": folder / f"cache{copies}", "indexes": folder / f"indexes{copies}"}
        took = run(raw, folder / "out", config, **kept, watch_memory=True)
        one = one or took.cpu_seconds
        print(
            f"  {copies * len(images):>9,}                                {took.seconds:9.2f} "
            f"{copies * len(images) / took.seconds:9,.0f} {took.cpu_seconds / one:10.1f} {took.peak_mb:8.0f}",
            flush=True,
        )


def synthetic_images(count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Distinct PNG files of 8 x 8 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    yield from ((number, encode_png(image)) for number, image in enumerate(pixels))


def new_checkout(folder: Path) -> None:
    """The project's files in a new repository of git and DVC."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if name not in ("data/raw.dvc", "dvc.lock") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=folder, check=True)


def genai(folder: Path, *arguments: str) -> Took:
    return command([sys.executable, "-m", "flows.cli", *arguments], folder)


def dvc(folder: Path, *arguments: str) -> Took:
    return command([sys.executable, "-m", "dvc", *arguments], folder)


def command(words: list[str], folder: Path) -> Took:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return Took(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def move(path: Path, old: Path, new: Path) -> None:
    target = new / path.relative_to(old)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


if __name__ == "__main__":
    main()
