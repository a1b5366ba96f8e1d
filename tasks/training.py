"""Common part of the stages `train` and `finetune`: train a model on a dataset; write the model and its plots."""

import csv
import hashlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genai_core.config import Config, SamplingConfig, TrainingConfig
from genai_core.config.machine import usable_memory_bytes
from genai_core.data.dataset.dataset import Dataset
from genai_core.data.dataset.facts import Indices
from genai_core.data.dataset.loader import Batch, training_batches
from genai_core.models.artifact import WEIGHTS_FILE, read_config, recipe_values, save_model
from genai_core.models.protocol import GenerativeModel, ImageShape, to_unit
from genai_core.reporting.grids import image_grid, save_png
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.cost import Cost, count_cost
from genai_core.training.follow import FollowedRun, open_followers
from genai_core.training.loop import Evaluate, Hardware, TrainingStoppedError, train
from genai_core.training.moments import Moments, weights_in
from genai_core.training.result import TrainingResult
from genai_core.training.sliced import SlicedDistance
from tasks.context import CHECKPOINTS_DIR, FOLLOW_DIR, Context, new_folder, stop_deferred
from tasks.device import memory_bytes
from tasks.optimizers import keep_moments
from tasks.rungs import requested_rungs

_ROOT = Path(__file__).parents[1]
# Rows of the curves shown on the model's card.
_CARD_ROWS = 10
# Images per batch in an evaluation, which must need much less memory than training.
_EVALUATION_BATCH = 100


@dataclass(frozen=True)
class Continuation:
    """How a model that was trained before is trained further.

    finish: makes the trained model one that can be saved. rates: factor of the learning rate by a weight's name,
    weights without one are frozen; None: 1 for all. settings: everything that shapes the result besides recipe and
    data, as JSON values: other settings do not resume a checkpoint. epoch: rows (M,) of the train split that an epoch
    consists of; None: all. moments: what the optimizers begin with; None: nothing. evaluated: rows among which
    early_stop measures; None: all. arrays: what is saved beside the model, by its file's name.
    """

    finish: Callable[[GenerativeModel], None] = lambda _: None
    rates: Mapping[str, float] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    epoch: Indices | None = None
    moments: Moments | None = None
    evaluated: Indices | None = None
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def shape_of(dataset: Dataset) -> ImageShape:
    """Return the shape of the images of a model of this dataset."""
    info = dataset.info
    return ImageShape(info.image_size, info.channels, info.classes)


def check_batch(key: str, images: int, shape: ImageShape, config: Config, device: torch.device) -> None:
    """Raise ValueError if a batch cannot fit into the memory, even if a step takes it in parts.

    PyTorch would fail while it counts the cost, or fill the memory for minutes. key: that the number is from.
    """
    memory = min(usable_memory_bytes(), memory_bytes(device) * config.compute.devices * config.compute.num_nodes)
    most = memory // (2 * 4 * prod(shape.chw))  # the images and noise for each, as float32
    if images > most:
        raise ValueError(
            f"{key}: got {images}; allowed: at most {most}, because more images, with noise for each, do not fit into "
            f"{memory / 1e9:.0f} GB of memory"
        )


def run_training(
    context: Context,
    model: GenerativeModel,
    recipe: Any,
    dataset: Dataset,
    device: torch.device,
    *,
    to: Path,
    origin: dict[str, Any],
    continuation: Continuation | None = None,
    sampling: SamplingConfig | None = None,
) -> None:
    """Train `model` on the train split according to recipe.training; write models/`to` and plots/`to`.

    recipe: the model's recipe, of any family. origin: source of its initial weights, as JSON values. continuation: for
    a model that was loaded; None for random weights. sampling: with which a search compares it with other trainings;
    it does not affect the result.
    """
    how = continuation or Continuation()
    training: TrainingConfig = recipe.training
    compute = context.config.compute
    identity = {
        "recipe": recipe_values(recipe),
        "dataset": dataset.info.fingerprint,
        "origin": origin,
        "settings": how.settings,
        "code": code_hash(recipe.family),
        "job": os.environ.get("GENAI_JOB", ""),  # set by `genai run`: identifies all inputs, including this code
    }
    checkpoints = Checkpoints(CHECKPOINTS_DIR, context.stage, identity)
    followed = FollowedRun(checkpoints.folder.name, FOLLOW_DIR, identity)
    batches = training_batches(
        dataset,
        batch_images=training.batch_images,
        seed=training.seed,
        device=device,
        memory_bytes=int(memory_bytes(device) * compute.resident_share),
        epoch=how.epoch,
    )
    cost = count_cost(model, training.batch_images)
    if context.is_first:
        print(f"{recipe.family}, {_describe(cost)}, on {len(batches):,} images, {device}", flush=True)
    with stop_deferred() as stop_requested:
        try:
            result = train(
                model,
                batches,
                training,
                hardware=Hardware(device, compute.devices, compute.num_nodes, compute.compile_on_gpu),
                checkpoints=checkpoints,
                checkpoint_every_s=compute.checkpoint_every_s,
                progress=context.progress,
                stop_requested=stop_requested,
                followers=lambda: open_followers(compute.follow, followed),
                evaluate=(
                    evaluation(dataset, training.early_stop.images, rows=how.evaluated) if training.early_stop else None
                ),
                rungs=requested_rungs(context.progress, sampling, partial(evaluation, dataset)),
                from_average=continuation is not None,
                rates=how.rates,
                moments=how.moments,
            )
        except TrainingStoppedError as stopped:
            print(stopped, flush=True)
            # The signal may have arrived in another process, so stop_deferred does not exit here.
            raise SystemExit(128 + signal.SIGTERM) from None
    if not result.is_first:
        return
    how.finish(model)
    model = model.result()
    with new_folder(Path("models") / to) as folder:
        summary = _summary(result, cost, origin)
        data = dataset.info.fingerprint
        save_model(folder, model, recipe, dataset=data, training_summary=summary, arrays=how.arrays)
        weights = read_config(folder).sha256[WEIGHTS_FILE]
    with new_folder(Path("plots") / to) as folder:
        _write_plots(folder, result)
        _write_grids(folder, model, batches.at(0))
    # Not of low-rank changes, nor of a few-step model's training: their weights are not those of the saved model.
    if weights_in(result.moments) <= {name for name, _ in model.named_parameters()}:
        keep_moments(weights, result.moments)
    checkpoints.delete()
    context.cost.update(_cost_values(result, cost, device))


def code_hash(family: str) -> str:
    """Return a hash of the code that trains that family, so that changed code does not resume an old checkpoint."""
    core = _ROOT / "genai_core"
    models = core / "models"
    paths = [Path(__file__), core / "data/dataset/loader.py", models / "protocol.py", models / f"{family}.py"]
    paths += sorted((core / "training").glob("*.py"))
    paths += sorted((models / "adapting").glob("*.py")) + sorted((models / "networks").glob("*.py"))
    paths += sorted((models / "networks" / family).rglob("*.py"))
    hashes = [f"{path.relative_to(_ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def evaluation(
    dataset: Dataset, count: int, sampling: SamplingConfig | None = None, *, rows: Indices | None = None
) -> Evaluate:
    """Return a function: distance of a model's images to `count` training images, with fixed labels and seeds.

    sampling: None: as previews are drawn. rows: of the train split, from which the images are; None: all.
    """
    images = dataset.rows("train") if rows is None else dataset.rows("train").iloc[rows]
    chosen = images.sample(min(count, len(images)), random_state=0)
    distance = SlicedDistance(torch.from_numpy(dataset.images_at(chosen)))
    labels = torch.tensor(chosen["label"].to_numpy()) if dataset.info.classes else None
    seeds = torch.arange(len(chosen))

    def evaluate(model: GenerativeModel) -> float:
        parts = [
            model.sample(
                None if labels is None else labels[part], seeds[part], sampling or model.preview_sampling
            ).cpu()
            for part in torch.split(seeds, _EVALUATION_BATCH)
        ]
        return distance(torch.cat(parts))

    return evaluate


def _summary(result: TrainingResult, cost: Cost, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the training summary for config.json and the card: the same in every run, so without times."""
    rows = result.curves
    shown = sorted({round((len(rows) - 1) * place / (_CARD_ROWS - 1)) for place in range(_CARD_ROWS)})
    summary = {
        "images": result.images,
        "steps": result.steps,
        "ended by": result.ended_by,
        **origin,
        "training operations an image": sum(cost.training_flops.values()),
        "sampling operations an image": cost.sampling_flops,
        "last figures": {name: value for name, value in rows[-1].items() if name != "images"},
        "curves": [rows[place] for place in shown],
    }
    if result.evaluations:
        summary["evaluations"] = result.evaluations
    if result.rollbacks:
        summary["rollbacks"] = [asdict(rollback) for rollback in result.rollbacks]
    return summary


def _cost_values(result: TrainingResult, cost: Cost, device: torch.device) -> dict[str, Any]:
    """Return the cost of the training, for metrics/cost."""
    spent = {
        "images": result.images,
        "images_per_second": round(result.images / result.seconds, 1),
        "ended_by": result.ended_by,
        "rollbacks": len(result.rollbacks),
        "device": device.type,
        "devices": result.processes,
        "device_hours": round(result.seconds * result.processes / 3600, 4),
        "peak_device_memory_mb": round(result.peak_memory_mb),
        "micro_batch_images": result.micro_batch_images,
        "parameters": cost.parameters,
        "training_flops_per_image": cost.training_flops,
        "sampling_flops_per_image": cost.sampling_flops,
    }
    if result.evaluations:
        spent["evaluation_seconds"] = round(result.evaluation_seconds, 2)
    return spent


def _write_plots(folder: Path, result: TrainingResult) -> None:
    rows = result.curves
    if result.rollbacks:
        # Number of rollbacks to a point before this row; the report marks where it rises.
        rows = [{**row, "rollbacks": sum(back.to_images < row["images"] for back in result.rollbacks)} for row in rows]
    _write_csv(folder / "curves.csv", rows)
    if result.evaluations:
        _write_csv(folder / "evaluations.csv", result.evaluations)
    images = np.concatenate([snapshot.images for snapshot in result.snapshots])
    captions = [f"{snapshot.images_seen:,}" for snapshot in result.snapshots]
    columns = len(result.snapshots[0].images)
    save_png(folder / "samples.png", image_grid(images, columns=columns, row_captions=captions))


def _write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    # Families that train one part after another have other figures later on.
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def _describe(cost: Cost) -> str:
    total = cost.training_parameters
    parameters = f"{cost.parameters:,} parameters" + (f" ({total:,} in training)" if total != cost.parameters else "")
    training, sampling = sum(cost.training_flops.values()) / 1e6, cost.sampling_flops / 1e6
    return f"{parameters}, {training:,.4g} MFLOPs per training image, {sampling:,.4g} per sample"


def _write_grids(folder: Path, model: GenerativeModel, batch: Batch) -> None:
    for name, grid in model.eval().pictures(to_unit(batch.images), batch.labels).items():
        images = grid.flatten(0, 1).cpu().numpy()
        save_png(folder / f"{name}.png", image_grid(images, columns=grid.shape[1]))
