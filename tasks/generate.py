"""The stage `generate`: draw a batch of images with the candidate. Writes samples/batch."""

import json
from pathlib import Path

from genai_core.models.artifact import WEIGHTS_FILE, load_model, parse_sampling, read_config
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.batch import Provenance, write_batch
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from tasks.context import Context, new_folder, running
from tasks.device import torch_device

CANDIDATE = Path("models/candidate")
BATCH = Path("samples/batch")


def main() -> None:
    with running("generate") as context:
        config = context.config.generate
        draw_batch(context, CANDIDATE, BATCH, config.total_images, config.seed)


def draw_batch(context: Context, model: Path, out: Path, total_images: int, seed: int) -> None:
    """Draw images from a candidate's folder, image i from seed + i, and write them to `out` as a batch."""
    config, progress = context.config.generate, context.progress
    description, device = read_config(model), torch_device(context.config)
    selection = json.loads((model / "selection.json").read_text())
    sampling = parse_sampling(description.config.family, selection["sampling"])
    classes = description.shape.classes
    labels, seeds = equal_labels(total_images, len(classes)), image_seeds(total_images, seed)
    progress.begin("images", total=total_images, unit="images")
    images = sample_images(
        load_model(model, str(device)), labels, seeds, sampling, config.batch_images, progress.update
    )
    context.cost["images_per_second"] = round(progress.per_second(total_images), 1)
    provenance = Provenance(
        model_sha256=description.sha256[WEIGHTS_FILE],
        family=description.config.family,
        dataset=description.dataset,
        sampling=selection["sampling"],
        seed=seed,
    )
    asked = None if labels is None else labels.numpy()
    with new_folder(out) as folder:
        write_batch(folder, images, asked, seeds.numpy(), classes, config.format, provenance)
        save_png(folder / "grid.png", class_grid(images, asked, classes))


if __name__ == "__main__":
    main()
