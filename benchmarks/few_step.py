"""A diffusion model, and the few-step model made from it, measured alike.

    OMP_WAIT_POLICY=passive python -m benchmarks.few_step --out FOLDER [--images 200000] [--width 32] [--whole]
        [--steps 2] [--pairs 8000] [--share 0.3] [--samples 2000] [--muon] [--turn 90]

Fashion-MNIST, padded to 32x32 and halved to 16x16; --whole: not halved. The teacher is trained by the race's recipe
(fashion_mnist.yaml) with another width and number of images. The few-step model sees --share of the teacher's images.
The features are those of the race's classifier, which has no part in either training. Weights stay in FOLDER.

--turn: every call trains for so many seconds more and ends.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from benchmarks.quality_race import EvaluationCounter, Turn, resident
from benchmarks.race_judge import Judge
from genai_core.config import ModelConfig, SamplingConfig, TrainingConfig
from genai_core.data.dataset.dataset import SPLITS, Dataset, load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape, Lesson
from genai_core.progress import Progress
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, TrainingStoppedError, train

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
FIRST_SEED = 10_000


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    model: str
    images: int  # seen in training
    seconds: float  # of the processor, in training; for a few-step model, with its teacher's drawing
    evaluations: int
    fd: float
    agreement: float
    images_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200_000, help="that the teacher sees in training")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--whole", action="store_true", help="32x32 instead of 16x16")
    parser.add_argument("--steps", type=int, default=2, choices=(1, 2, 4))
    parser.add_argument("--pairs", type=int, default=8_000)
    parser.add_argument("--share", type=float, default=0.3, help="of the teacher's images that the student sees")
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--muon", action="store_true", help="train the teacher with Muon instead of AdamW")
    parser.add_argument("--turn", type=float)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        run(arguments)
    except TrainingStoppedError as stopped:
        print(stopped)


def run(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    dataset = images_of(out, arguments.data, halved=not arguments.whole)
    recipe = teacher_recipe(arguments)
    turn = Turn(arguments.turn)
    torch.manual_seed(recipe.training.seed)
    teacher = build_model(recipe, ImageShape(dataset.info.image_size, 1, CLASSES))
    taught = trained(out / "teacher", teacher, recipe.training, dataset, turn)
    teacher.eval()
    judge = Judge(out / "judge", dataset, arguments.samples, CPU)
    print(f"floor: {judge.floor:.2f} of {arguments.samples} held-out images")
    kept = out / f"teacher-{arguments.samples}.json"
    if not kept.is_file():
        row = measured("teacher", teacher, recipe.sampling, judge, taught, arguments.samples, out)
        kept.write_text(json.dumps(asdict(row)))
    first = Row(**json.loads(kept.read_text()))
    show(first, first)

    name = f"student-{arguments.steps}-{arguments.pairs}-{arguments.share:g}"
    training = student_training(recipe.training, arguments)
    labels = equal_labels(arguments.pairs, len(CLASSES))
    lesson = Lesson("", recipe.sampling, arguments.pairs, labels, arguments.steps)
    began = time.process_time()
    distilling = teacher.distillation(
        recipe.model_copy(update={"training": training}), lesson, out / "pairs", lambda _: None
    )
    drawing = add_seconds(out / f"{name}-drawing.txt", time.process_time() - began)
    spent = trained(out / name, distilling.model, distilling.recipe.training, dataset, turn)
    spent = Spent(spent.images, spent.seconds + drawing)
    student = distilling.model.result().eval()
    for steps in (step for step in (1, 2, 4) if step <= arguments.steps):
        sampling = student.preview_sampling.model_copy(update={"steps": steps})
        show(measured(f"{name}, {steps}", student, sampling, judge, spent, arguments.samples, out), first)


def images_of(out: Path, data: Path, *, halved: bool) -> Dataset:
    """Return Fashion-MNIST, padded to 32x32; halved to 16x16, each pixel the mean of four, if `halved`."""
    whole = fashion_mnist_dataset(out / "data", data, 32)
    if not halved:
        return whole
    folder = out / "data-halved"
    if not (folder / "dataset.json").is_file():
        size = ImageSize.square(16)
        writer = DatasetWriter(folder, image_size=size, channels=1, classes=CLASSES, shard_images=10_000)
        for split in SPLITS:
            pixels, labels = whole.images(split).astype(np.float32), whole.labels(split)
            assert labels is not None
            quarters = pixels.reshape(-1, 1, 16, 2, 16, 2).mean(axis=(3, 5))
            writer.add(split, np.round(quarters).astype(np.uint8), labels.astype(np.int64))
        writer.finish()
    return load_dataset(folder)


def teacher_recipe(arguments: argparse.Namespace) -> Any:
    values = YAML(typ="safe").load(ROOT / "benchmarks" / "fashion_mnist.yaml")["diffusion"]
    values["network"]["width"] = arguments.width
    values["training"]["muon"] = arguments.muon
    values["training"]["total_images"] = arguments.images
    return TypeAdapter(ModelConfig).validate_python(values)


def student_training(own: TrainingConfig, arguments: argparse.Namespace) -> TrainingConfig:
    """Return the settings that docs/training.md recommends for a few-step model."""
    total = round(arguments.images * arguments.share)
    return own.model_copy(update={"total_images": total, "warmup_images": 1_000, "ema_halflife_images": 2_000})


@dataclass(frozen=True)
class Spent:
    """What a training took: images seen, and seconds of the processor."""

    images: int
    seconds: float


def trained(folder: Path, model: GenerativeModel, training: TrainingConfig, dataset: Dataset, turn: Turn) -> Spent:
    """Train the model, or take the weights that an earlier call left. Raises TrainingStoppedError after a turn."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, facts, clock = folder / "weights.safetensors", folder / "spent.json", folder / "seconds.txt"
    network = model.sampled_network()
    if facts.is_file():
        network.load_state_dict(load_file(weights))
        return Spent(**json.loads(facts.read_text()))
    began = time.process_time()
    try:
        result = train(
            model,
            resident(dataset, training.batch_images, CPU),
            training,
            hardware=Hardware(CPU),
            checkpoints=Checkpoints(folder / "checkpoints", "few_step", {}),
            checkpoint_every_s=3600.0,
            progress=Progress(folder / "progress.json"),
            stop_requested=turn.is_over,
            from_average=folder.name != "teacher",
        )
    finally:
        seconds = add_seconds(clock, time.process_time() - began)
    save(network, weights)
    spent = Spent(result.images, seconds)
    facts.write_text(json.dumps(asdict(spent)))
    return spent


def add_seconds(clock: Path, seconds: float) -> float:
    """Return the seconds of all calls so far, which the file keeps."""
    total = seconds + (float(clock.read_text()) if clock.is_file() else 0.0)
    clock.write_text(str(total))
    return total


def save(network: nn.Module, path: Path) -> None:
    save_file({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, path)


def measured(
    name: str,
    model: GenerativeModel,
    sampling: SamplingConfig,
    judge: Judge,
    spent: Spent,
    samples: int,
    out: Path,
) -> Row:
    """Draw and measure, and write a grid."""
    labels, seeds = equal_labels(samples, len(CLASSES)), image_seeds(samples, FIRST_SEED)
    assert labels is not None
    began = time.process_time()
    with EvaluationCounter(model.sampled_network()) as counter:
        images = sample_images(model, labels, seeds, sampling, 250)
    seconds = time.process_time() - began
    save_png(out / f"{name}.png", class_grid(images, labels.numpy(), CLASSES))
    figures = judge.measure(images, labels.numpy())
    return Row(
        name,
        spent.images,
        spent.seconds,
        round(counter.images / samples),
        figures["fd_classifier"],
        figures["label_agreement"],
        samples / seconds,
    )


def show(row: Row, teacher: Row) -> None:
    if row is teacher:
        print("\n| model | images seen | CPU s | evaluations | FD | FD/teacher's | agreement | images/s | faster |")
        print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {row.model} | {row.images:,} | {row.seconds:.0f} | {row.evaluations} | {row.fd:.2f} "
        f"| {row.fd / teacher.fd:.2f} | {row.agreement:.3f} | {row.images_per_second:.0f} "
        f"| {row.images_per_second / teacher.images_per_second:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
