"""The trainings of benchmarks/adaptation.py: the data, the rows of the table, and how each row's model is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from genai_core.config import ModelConfig
from genai_core.data.dataset.dataset import SPLITS, Dataset, load_dataset
from genai_core.data.dataset.loader import ResidentBatches
from genai_core.data.dataset.seen import epoch_with_replay
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize
from genai_core.models.adapting.adapt import adapted
from genai_core.models.adapting.lora import add_lora, merge_lora
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import GenerativeModel, ImageShape
from genai_core.progress import Progress
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, train
from genai_core.training.rates import learning_rates

ROOT = Path(__file__).parents[1]
SIZE = 16
NEW = ("sandal", "bag")
OLD = tuple(name for name in CLASSES if name not in NEW)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Start:
    """A training from random weights. without_new: of the classes that were there before."""

    images: int
    batch: int = 64
    rate: float = 1.0  # share of the recipe's learning rate
    seed: int = 0
    without_new: bool = False


@dataclass(frozen=True)
class Tuning:
    """How a row continues a base. replay: share of old images, None for all images alike, 0.0 for new ones only.

    keep: new classes get a network of their own, and all images are of them. against: which row it is to reach.
    """

    images: int
    rate: float = 1.0  # share of the model's own learning rate
    replay: float | None = None
    random_rows: bool = False  # new classes start with random embeddings, not the mean of the others
    lora_rank: int | None = None
    class_rate: float = 1.0  # learning rate of the class embeddings over that of the rest
    adamw: bool = False  # also with --muon
    average: int = 8  # share of the images that is the average's half-life: one in so many
    batch: int = 64
    keep: bool = False
    base: str = "base"
    against: str = "scratch"


# What finetune's auto means, in batches of 64 and of 32.
_AUTO: dict[str, Any] = {"rate": 0.75, "class_rate": 10.0 / 0.75}
_AUTO_IN_32: dict[str, Any] = {"rate": 0.53, "class_rate": 10.0 / 0.53, "batch": 32}
_IN_32: dict[str, Any] = {"batch": 32, "rate": 0.7}


def _with_three_seeds() -> Iterator[tuple[str, Start | Tuning]]:
    """Rows in batches of 64 and of 32, each compared with a scratch of its seed and of its own base's batches."""
    for seed in range(3):
        end = f", seed {seed}" if seed else ""
        yield "base" + end, Start(48_000, seed=seed, without_new=True)  # as many of each class as scratch
        yield "base, 60,000" + end, Start(60_000, seed=seed, without_new=True)  # as many in all as scratch
        yield "scratch" + end, Start(60_000, seed=seed)
        yield "base, 60,000, batches of 32" + end, Start(60_000, seed=seed, without_new=True, **_IN_32)
        yield "scratch, batches of 32" + end, Start(60_000, seed=seed, **_IN_32)
        base, scratch = "base, 60,000" + end, "scratch" + end
        yield "old classes kept" + end, Tuning(18_000, **_AUTO, keep=True, base="base" + end, against=scratch)
        kept = Tuning(18_000, **_AUTO, keep=True, base=base, against=scratch)
        yield "old classes kept, base of 60,000" + end, kept
        yield "all images (auto), base of 60,000" + end, replace(kept, keep=False)
        small = replace(kept, **_AUTO_IN_32)
        yield "old classes kept, base of 60,000, batches of 32" + end, small
        all_small = replace(small, base="base, 60,000, batches of 32" + end, against="scratch, batches of 32" + end)
        yield "old classes kept, all in batches of 32" + end, all_small


ROWS: dict[str, Start | Tuning] = {
    **dict(_with_three_seeds()),
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
    "all images, rate 0.53, classes 19 (auto), batches of 32": Tuning(18_000, 0.53, class_rate=10.0 / 0.53, batch=32),
    "all images, rate 0.375, classes 27 (auto), batches of 16": Tuning(
        18_000, 0.375, class_rate=10.0 / 0.375, batch=16
    ),
    "three quarters replayed, rate 0.375, classes 27, batches of 16": Tuning(
        18_000, 0.375, replay=0.75, class_rate=10.0 / 0.375, batch=16
    ),
    "two thirds replayed, rate 0.5, classes 8": Tuning(18_000, 0.5, replay=2 / 3, class_rate=8.0),
    "all images, rate 0.75, classes 13.3 (auto), AdamW": Tuning(18_000, 0.75, class_rate=10.0 / 0.75, adamw=True),
    "all images, rate 0.75, classes 13.3 (auto), 30,000": Tuning(30_000, 0.75, class_rate=10.0 / 0.75),
    "two thirds replayed, classes 10, average of a quarter": Tuning(18_000, replay=2 / 3, class_rate=10.0, average=4),
    "two thirds replayed, classes 10": Tuning(18_000, replay=2 / 3, class_rate=10.0),
    "all images, LoRA 8, classes 10": Tuning(18_000, lora_rank=8, class_rate=10.0),
    "new images only, classes 10": Tuning(18_000, replay=0.0, class_rate=10.0),
    "old classes kept, base of 60,000, 12,000 images": Tuning(12_000, **_AUTO, keep=True, base="base, 60,000"),
}


def folder_of(name: str) -> str:
    """The name of a row's folder."""
    return name.replace(" ", "-").replace(",", "")


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


def make(name: str, folder: Path, whole: Dataset, old: Dataset, muon: bool, stop_requested: Callable[[], bool]) -> None:
    """Train the row's model, or go on, and save it in `folder`, beside its base. Raises TrainingStoppedError."""
    if (folder / "config.json").is_file():
        return
    config, row = recipe(muon), ROWS[name]
    dataset = old if isinstance(row, Start) and row.without_new else whole
    shape = ImageShape(ImageSize.square(SIZE), 1, tuple(dataset.info.classes))
    training, rates, epoch = config.training, None, None
    common = {
        "total_images": row.images,
        "batch_images": row.batch,
        "learning_rate": training.learning_rate * row.rate,
    }
    if isinstance(row, Start):
        torch.manual_seed(row.seed)
        model = build_model(config, shape)
        training = training.model_copy(update={**common, "seed": row.seed, "ema_halflife_images": row.images // 20})
    else:
        torch.manual_seed(0)
        found = adapted(folder.parent / folder_of(row.base), shape)
        model = found.model
        if row.keep:
            own = model.with_own_network(found.recipe, NEW)
            model, config = own.model, own.recipe
        if row.random_rows:
            randomise(model)
        training = training.model_copy(
            update={
                **common,
                "warmup_images": row.images // 8,
                "ema_halflife_images": row.images // row.average,
                "seed": 1,
                "muon": muon and not row.adamw,
            }
        )
        if row.lora_rank or row.class_rate != 1.0:
            rates = learning_rates(model, 1.0, (), row.class_rate)
        if row.lora_rank:
            assert rates is not None
            rates = add_lora(model, row.lora_rank, float(row.lora_rank), rates)
        if row.replay is not None or row.keep:
            labels = dataset.labels("train")
            assert labels is not None
            is_new = np.isin(labels, [CLASSES.index(each) for each in NEW])
            epoch = epoch_with_replay(is_new, row.replay or 0.0, 1)
    batches = ResidentBatches(
        dataset.images("train"),
        dataset.labels("train"),
        batch_images=row.batch,
        seed=training.seed,
        device=CPU,
        epoch=epoch,
    )
    result = train(
        model,
        batches,
        training,
        hardware=Hardware(CPU),
        checkpoints=Checkpoints(folder / "checkpoints", "row", {"name": name, "tuning": repr(row)}),
        checkpoint_every_s=30.0,
        progress=Progress(folder / "progress.json"),
        stop_requested=stop_requested,
        from_average=isinstance(row, Tuning),
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
