"""What the stages `train` and `finetune` share: train a model on a dataset, then write the model and its pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genai_core.config import TrainingConfig
from genai_core.data.dataset import Dataset
from genai_core.data.loader import Batch, training_batches
from genai_core.models.artifact import recipe_values, save_model
from genai_core.models.protocol import GenerativeModel, ImageShape, to_unit
from genai_core.reporting.grids import image_grid, save_png
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import TrainingResult, train
from tasks.context import CHECKPOINTS_DIR, Context, new_folder, stop_deferred
from tasks.device import memory_bytes


def shape_of(dataset: Dataset) -> ImageShape:
    """What a model of this dataset draws."""
    info = dataset.info
    return ImageShape(info.image_size, info.channels, info.classes)


def run_training(
    context: Context,
    model: GenerativeModel,
    recipe: Any,
    dataset: Dataset,
    device: torch.device,
    *,
    to: Path,
    origin: dict[str, Any],
) -> None:
    """Train `model` on the train split as recipe.training says; write models/`to` and plots/`to`.

    recipe: the model's recipe, of any family. origin: where its first weights come from, as JSON values.
    """
    training: TrainingConfig = recipe.training
    identity = {
        "recipe": recipe_values(recipe),
        "dataset": dataset.info.fingerprint,
        "origin": origin,
    }
    checkpoints = Checkpoints(CHECKPOINTS_DIR, context.stage, identity)
    batches = training_batches(
        dataset,
        batch_images=training.batch_images,
        seed=training.seed,
        device=device,
        memory_bytes=int(memory_bytes(device) * context.config.compute.resident_share),
    )
    print(f"{recipe.family}, {_parameters(model)}, on {len(batches):,} images, {device}", flush=True)
    with stop_deferred() as stop_requested:
        result = train(
            model,
            batches,
            training,
            device=device,
            checkpoints=checkpoints,
            checkpoint_every_s=context.config.compute.checkpoint_every_s,
            progress=context.progress,
            stop_requested=stop_requested,
        )
    with new_folder(Path("models") / to) as folder:
        figures = {name: value for name, value in result.curves[-1].items() if name != "images"}
        summary = {"images": result.images, "steps": result.steps, **origin, "last figures": figures}
        save_model(folder, model, recipe, dataset=dataset.info.fingerprint, training_summary=summary)
    with new_folder(Path("plots") / to) as folder:
        _write_plots(folder, result)
        _write_pictures(folder, model, batches.at(0))
    checkpoints.delete()
    context.cost.update(
        images=result.images,
        images_per_second=round(result.images / result.seconds, 1),
        device=device.type,
        device_hours=round(result.seconds / 3600, 4),
    )


def _write_plots(folder: Path, result: TrainingResult) -> None:
    # A family that trains one part after another has other figures later on.
    names = list(dict.fromkeys(name for row in result.curves for name in row))
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in result.curves)
    images = np.concatenate([snapshot.images for snapshot in result.snapshots])
    captions = [f"{snapshot.images_seen:,}" for snapshot in result.snapshots]
    columns = len(result.snapshots[0].images)
    save_png(folder / "samples.png", image_grid(images, columns=columns, row_captions=captions))


def _write_pictures(folder: Path, model: GenerativeModel, batch: Batch) -> None:
    for name, grid in model.eval().pictures(to_unit(batch.images), batch.labels).items():
        images = grid.flatten(0, 1).cpu().numpy()
        save_png(folder / f"{name}.png", image_grid(images, columns=grid.shape[1]))


def _parameters(model: GenerativeModel) -> str:
    drawing, total = (sum(p.numel() for p in part.parameters()) for part in (model.sampled_network(), model))
    return f"{drawing:,} parameters" + (f" ({total:,} in training)" if total != drawing else "")
