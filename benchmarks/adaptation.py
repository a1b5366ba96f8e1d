"""Two classes arrive: a diffusion model is fine-tuned, against one that is trained from scratch on all ten.

    python -m benchmarks.adaptation --out FOLDER [--muon] [--turn 80] [--only NAME ...]

Fashion-MNIST at 16x16 (padded to 32x32, means of 2x2). `base` is trained without the sandals and the bags, `scratch` on
all ten classes; the others continue `base`. Each draws the same seeds and labels, and one classifier measures them all:
against the train images of all classes, and class by class. The intervals are of the differences from `scratch` (all
classes) and from `base` (each old class) over 200 resamples of the drawn images, in pairs.

Each row's model, samples and figures stay in FOLDER: a second call does what is missing and prints the table. --turn:
end after so many seconds of training with status 3; the next call goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from benchmarks.race_judge import EXTRACTOR
from genai_core.config import ModelConfig
from genai_core.data.dataset.dataset import SPLITS, Dataset, load_dataset
from genai_core.data.dataset.loader import ResidentBatches
from genai_core.data.dataset.seen import epoch_with_replay
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.evaluation.extractor import load_extractor, save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.bootstrap import paired_difference, resample_weights
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_resamples import resampled_distances
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root
from genai_core.image_size import ImageSize
from genai_core.models.adapting.adapt import adapted
from genai_core.models.adapting.lora import add_lora, merge_lora
from genai_core.models.artifact import build_model, load_model, save_model
from genai_core.models.protocol import GenerativeModel, ImageShape
from genai_core.progress import Progress
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, TrainingStoppedError, train
from genai_core.training.rates import learning_rates

ROOT = Path(__file__).parents[1]
SIZE = 16
NEW = ("sandal", "bag")
OLD = tuple(name for name in CLASSES if name not in NEW)
SCRATCH_IMAGES, BASE_IMAGES = 60_000, 48_000  # as many of each class
CPU = torch.device("cpu")
MORE_TO_DO = 3


@dataclass(frozen=True)
class Tuning:
    """How a row continues the base. replay: share of old images, None for all images alike, 0.0 for new ones only."""

    images: int
    rate: float = 1.0  # share of the model's own learning rate
    replay: float | None = None
    random_rows: bool = False  # new classes start with random embeddings, not the mean of the others
    lora_rank: int | None = None
    first_layer_rate: float = 1.0
    class_rate: float = 1.0  # learning rate of the class embeddings over that of the rest
    adamw: bool = False  # also with --muon
    average: int = 8  # share of the images that is the average's half-life: one in so many


ROWS: dict[str, Tuning | None] = {
    "base": None,
    "scratch": None,
    "all images, rate 0.5": Tuning(18_000, 0.5),
    "all images, rate 0.5, random rows": Tuning(18_000, 0.5, random_rows=True),
    "half replayed, rate 0.5": Tuning(18_000, 0.5, replay=0.5),
    "all images": Tuning(18_000),
    "half replayed": Tuning(18_000, replay=0.5),
    "all images, classes 10": Tuning(18_000, class_rate=10.0),
    "all images, rate 0.5, classes 20": Tuning(18_000, 0.5, class_rate=20.0),
    "all images, rate 0.75, classes 20": Tuning(18_000, 0.75, class_rate=20.0),
    "all images, rate 0.75, classes 13.3 (auto)": Tuning(18_000, 0.75, class_rate=10.0 / 0.75),
    "all images, rate 0.35, classes 29": Tuning(18_000, 0.35, class_rate=29.0),
    "all images, rate 0.2, classes 50": Tuning(18_000, 0.2, class_rate=50.0),
    "all images, rate 0.75, classes 4": Tuning(18_000, 0.75, class_rate=4.0),
    "all images, rate 0.5, classes 6": Tuning(18_000, 0.5, class_rate=6.0),
    "two thirds replayed, rate 0.5, classes 8": Tuning(18_000, 0.5, replay=2 / 3, class_rate=8.0),
    "all images, rate 0.75, classes 13.3 (auto), AdamW": Tuning(18_000, 0.75, class_rate=10.0 / 0.75, adamw=True),
    "all images, rate 0.75, classes 13.3 (auto), 30,000": Tuning(30_000, 0.75, class_rate=10.0 / 0.75),
    "two thirds replayed, classes 10, average of a quarter": Tuning(18_000, replay=2 / 3, class_rate=10.0, average=4),
    "two thirds replayed, classes 10": Tuning(18_000, replay=2 / 3, class_rate=10.0),
    "all images, LoRA 8, classes 10": Tuning(18_000, lora_rank=8, class_rate=10.0),
    "new images only, classes 10": Tuning(18_000, replay=0.0, class_rate=10.0),
}


class Judge:
    """One classifier of all ten classes; statistics of the train images, of all and of each class."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        if not (folder / "extractor" / "config.json").is_file():
            (folder / "extractor").mkdir(parents=True, exist_ok=True)
            extractor, description = train_extractor(EXTRACTOR, dataset, CPU, lambda *_: None)
            save_extractor(folder / "extractor", extractor, description)
        self._extractor, _ = load_extractor(folder / "extractor", EXTRACTOR, CPU)
        found = {}
        for split in SPLITS:
            path = folder / f"{split}.npy"
            if not path.is_file():
                np.save(path, extract_features(self._extractor, dataset.images(split), 250).features)
            found[split] = np.load(path)
        labels = dataset.labels("train")
        assert labels is not None
        self.whole = _described(found["train"])
        self.by_class = [_described(found["train"][labels == label]) for label in range(len(CLASSES))]
        self._test = found["test"]

    def floor(self, images: int) -> float:
        """FD of as many held-out images."""
        chosen = np.random.default_rng(0).permutation(len(self._test))[:images]
        return _distance(self._test[chosen], self.whole)

    def measure(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
        features = extract_features(self._extractor, images, 250)
        agreement = label_agreement(features.logits, labels)
        classes: dict[str, list[float]] = {}
        for name in np.array(CLASSES)[np.unique(labels)]:
            label = CLASSES.index(str(name))
            own = features.features[labels == label]
            weights = resample_weights(len(own), 200, label)
            replicates = resampled_distances(own, *self.by_class[label], weights)
            classes[str(name)] = [_distance(own, self.by_class[label]), *map(float, replicates)]
        weights = resample_weights(len(labels), 200, 0, labels)
        return {
            "fd": _distance(features.features, self.whole),
            "replicates": list(map(float, resampled_distances(features.features, *self.whole, weights))),
            "agreement": float(agreement.mean()),
            "classes": classes,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turn", type=float, default=float("inf"), help="seconds of this call")
    parser.add_argument("--muon", action="store_true", help="train all with Muon instead of AdamW")
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--samples", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ends = time.monotonic() + arguments.turn
    whole, old = datasets(arguments.out, arguments.data)
    judge = cache(lambda: Judge(arguments.out / "judge", whole))
    for name in arguments.only:
        folder = arguments.out / name.replace(" ", "-").replace(",", "")
        if (folder / "figures.json").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            make(name, folder, arguments.out / "base", whole, old, arguments.muon, lambda: time.monotonic() > ends)
        except TrainingStoppedError as stopped:
            print(f"{name}: {stopped}", flush=True)
            sys.exit(MORE_TO_DO)
        if time.monotonic() > ends:
            sys.exit(MORE_TO_DO)
        figures = measure(folder, arguments.samples, judge())
        (folder / "figures.json").write_text(json.dumps(figures))
        print(f"{name}: FD {figures['fd']:.2f}", flush=True)
    print_table(arguments.out, judge().floor(arguments.samples))


def datasets(out: Path, data: Path) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST at 16x16, and the part of it without the new classes."""
    large = fashion_mnist_dataset(out / "data32", data, 2 * SIZE)
    found = []
    for folder, classes in ((out / "all", CLASSES), (out / "old", OLD)):
        if not (folder / "dataset.json").is_file():
            size = ImageSize.square(SIZE)
            writer = DatasetWriter(folder, image_size=size, channels=1, classes=classes, shard_images=10_000)
            for split in SPLITS:
                images, labels = large.images(split), large.labels(split)
                assert labels is not None
                small = images.reshape(-1, 1, SIZE, 2, SIZE, 2).mean(axis=(3, 5)).round().astype(np.uint8)
                kept = [index for index, label in enumerate(labels) if CLASSES[label] in classes]
                numbers = np.array([classes.index(CLASSES[label]) for label in labels[kept]])
                writer.add(split, small[kept], numbers)
            writer.finish()
        found.append(load_dataset(folder))
    return found[0], found[1]


def make(
    name: str, folder: Path, base: Path, whole: Dataset, old: Dataset, muon: bool, stop_requested: Callable[[], bool]
) -> None:
    """Train the row's model, or go on, and save it in `folder`. Raises TrainingStoppedError."""
    if (folder / "config.json").is_file():
        return
    config, tuning = recipe(muon), ROWS[name]
    dataset = old if name == "base" else whole
    shape = ImageShape(ImageSize.square(SIZE), 1, tuple(dataset.info.classes))
    torch.manual_seed(0)
    training, rates, epoch = config.training, None, None
    if tuning is None:
        images = BASE_IMAGES if name == "base" else SCRATCH_IMAGES
        model = build_model(config, shape)
        training = training.model_copy(update={"total_images": images, "ema_halflife_images": images // 20})
    else:
        model = adapted(base, shape).model
        if tuning.random_rows:
            randomise(model)
        training = training.model_copy(
            update={
                "total_images": tuning.images,
                "learning_rate": training.learning_rate * tuning.rate,
                "warmup_images": tuning.images // 8,
                "ema_halflife_images": tuning.images // tuning.average,
                "seed": 1,
                "muon": muon and not tuning.adamw,
            }
        )
        if tuning.lora_rank or tuning.first_layer_rate < 1.0 or tuning.class_rate != 1.0:
            rates = learning_rates(model, tuning.first_layer_rate, (), tuning.class_rate)
        if tuning.lora_rank:
            assert rates is not None
            rates = add_lora(model, tuning.lora_rank, float(tuning.lora_rank), rates)
        if tuning.replay is not None:
            labels = dataset.labels("train")
            assert labels is not None
            is_new = np.isin(labels, [CLASSES.index(each) for each in NEW])
            epoch = epoch_with_replay(is_new, tuning.replay, 1)
    batches = ResidentBatches(
        dataset.images("train"), dataset.labels("train"), batch_images=64, seed=training.seed, device=CPU, epoch=epoch
    )
    result = train(
        model,
        batches,
        training,
        hardware=Hardware(CPU),
        checkpoints=Checkpoints(folder / "checkpoints", "row", {"name": name, "tuning": repr(tuning)}),
        checkpoint_every_s=30.0,
        progress=Progress(folder / "progress.json"),
        stop_requested=stop_requested,
        from_average=tuning is not None,
        rates=rates,
    )
    merge_lora(model)
    save_model(folder, model, config, dataset=dataset.info.fingerprint, training_summary={"images": result.images})


def randomise(model: GenerativeModel) -> None:
    """Give the new classes the rows that a new network has, instead of the mean of the others."""
    weight = model.get_parameter("network.class_embedding.weight")
    with torch.no_grad():
        for name in NEW:
            weight[CLASSES.index(name)] = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(1))


def recipe(muon: bool) -> Any:
    """The race's diffusion recipe, smaller; its sampling levels are for images of twice the side."""
    values = YAML(typ="safe").load(ROOT / "benchmarks" / "fashion_mnist.yaml")["diffusion"]
    values["network"]["width"] = 32
    values["training"]["muon"] = muon
    values["sampling"]["noise_levels"] = [level / 2 for level in values["sampling"]["noise_levels"]]
    values["sampling"].update(sigma_min=0.02, sigma_max=63.0)
    return TypeAdapter(ModelConfig).validate_python(values)


def measure(folder: Path, samples: int, judge: Judge) -> dict[str, Any]:
    model = load_model(folder)
    names = model.shape.classes
    per_class = samples // len(CLASSES)
    labels = equal_labels(per_class * len(names), len(names))
    assert labels is not None
    # Seeds by class and number, so that an image of a class has the same seed whatever other classes there are.
    place = torch.arange(len(labels)) // len(names)
    numbers = torch.tensor([CLASSES.index(name) for name in names])[labels]
    seeds = image_seeds(1, 10_000) + numbers * per_class + place
    images = sample_images(model, labels, seeds, recipe(False).sampling, 250)
    save_png(folder / "samples.png", class_grid(images, labels.numpy(), names))
    return judge.measure(images, numbers.numpy())


def print_table(out: Path, floor: float) -> None:
    rows = {}
    for name in ROWS:
        path = out / name.replace(" ", "-").replace(",", "") / "figures.json"
        if path.is_file():
            rows[name] = json.loads(path.read_text())
    print(f"\nfloor {floor:.2f}\n")
    print(
        "| model | images seen | FD, ten classes | minus that of scratch | old classes: mean FD | worse than base "
        "| new classes: mean FD |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, figures in rows.items():
        classes, tuning = figures["classes"], ROWS[name]
        images = tuning.images if tuning else {"base": BASE_IMAGES, "scratch": SCRATCH_IMAGES}[name]
        means = [_mean(classes, group) for group in (OLD, NEW)]
        worse = worse_classes(classes, rows["base"]["classes"]) if name != "base" else []
        whole = "" if name == "base" else f"{figures['fd']:.2f}"
        more = "" if tuning is None else over_scratch(figures, rows["scratch"])
        told = "" if name == "base" else ", ".join(worse) or "none"
        print(f"| {name} | {images:,} | {whole} | {more} | {means[0]} | {told} | {means[1]} |")


def over_scratch(found: dict[str, Any], scratch: dict[str, Any]) -> str:
    """The difference in FD from the model that was trained from scratch, with its 95% interval."""
    replicates = [np.array(figures.get("replicates", [])) for figures in (found, scratch)]
    if not all(map(len, replicates)):
        return ""
    difference = paired_difference(found["fd"], scratch["fd"], replicates[0], replicates[1], 0.95)
    return f"{difference.value:+.2f} ({difference.interval.low:+.2f} to {difference.interval.high:+.2f})"


def worse_classes(found: dict[str, list[float]], base: dict[str, list[float]]) -> list[str]:
    """Old classes whose distance grew by more than the noise."""
    worse = []
    for name in OLD:
        (value, *replicates), (before, *others) = found[name], base[name]
        difference = paired_difference(value, before, np.array(replicates), np.array(others), 0.95)
        if difference.interval.low > 0:
            worse.append(f"{name} {difference.value:+.2f}")
    return worse


def _mean(classes: dict[str, list[float]], names: tuple[str, ...]) -> str:
    known = [classes[name][0] for name in names if name in classes]
    return f"{np.mean(known):.2f}" if known else ""


def _described(features: npt.NDArray[np.float32]) -> tuple[FeatureStats, Float64]:
    stats = feature_stats(features)
    return stats, square_root(stats.covariance)


def _distance(features: npt.NDArray[np.float32], real: tuple[FeatureStats, Float64]) -> float:
    return frechet_distance(*real, feature_stats(features))


if __name__ == "__main__":
    main()
