"""The stage `generate`: generate a batch of images with the candidate. Writes samples/batch."""

from pathlib import Path

from genai_core.model import SELECTION_FILE, Classes, load_model
from tasks.context import Context, new_folder, running
from tasks.device import torch_device

CANDIDATE = Path("models/candidate")
BATCH = Path("samples/batch")


def main() -> None:
    with running("generate") as context:
        config = context.config.generate
        draw_batch(context, CANDIDATE, BATCH, config.total_images, config.seed)


def draw_batch(context: Context, model: Path, out: Path, total_images: int, seed: int, classes: Classes = None) -> None:
    """Generate images from a candidate's folder, image i from seed + i, and write them to `out` as a batch.

    classes: as in Model.draw; None cycles through all.
    """
    config, progress = context.config.generate, context.progress
    loaded = load_model(model, device=str(torch_device(context.config)))
    if not (model / SELECTION_FILE).is_file():  # the library would fall back to its default options
        raise FileNotFoundError(
            f"{model}: {SELECTION_FILE} with the sampling options is missing; run `genai run candidate`"
        )
    progress.begin("images", total=total_images, unit="images")
    images = loaded.draw(
        total_images, classes=classes, seed=seed, batch_images=config.batch_images, on_progress=progress.update
    )
    context.cost["images_per_second"] = round(progress.per_second(total_images), 1)
    with new_folder(out) as folder:
        images.write(folder, config.format)


if __name__ == "__main__":
    main()
