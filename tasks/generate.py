"""The stage `generate`: generate a batch of images with the candidate. Writes samples/batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from genai_core.model import Classes, Model, load_model
from genai_core.models.artifact import CONFIG_FILE, SELECTION_FILE
from tasks.context import Context, new_folder, running
from tasks.device import torch_device

CANDIDATE = Path("models/candidate")
BATCH = Path("samples/batch")


def main() -> None:
    with running("generate") as context:
        config = context.config.generate
        check_selection(CANDIDATE)
        draw_batch(
            context,
            load_model(CANDIDATE, device=str(torch_device(context.config))),
            BATCH,
            config.total_images,
            config.seed,
            form=config.format,
            batch_images=config.batch_images,
        )


def check_selection(model: Path) -> None:
    """Raise FileNotFoundError if a candidate lacks its sampling options: the library would use its defaults."""
    if (model / CONFIG_FILE).is_file() and not (model / SELECTION_FILE).is_file():
        raise FileNotFoundError(
            f"{model}: {SELECTION_FILE} with the sampling options is missing; run `genai run candidate`"
        )


def draw_batch(
    context: Context,
    model: Model,
    out: Path,
    total_images: int,
    seed: int,
    *,
    form: Literal["png", "tar"],
    classes: Classes = None,
    sampling: Mapping[str, Any] | None = None,
    batch_images: int | None,
) -> None:
    """Generate images with a model, image i from seed + i, and write them to `out` as a batch.

    classes: as in Model.draw; None cycles through all. sampling: options that replace the model's own. batch_images: as
    in Model.draw; None draws the same pixels as the page and the API.
    """
    progress = context.progress
    # Before they are arguments: `seed` or `form` would collide with those of draw_into.
    model.sampling_with(sampling or {})
    progress.begin("images", total=total_images, unit="images")
    with new_folder(out) as folder:
        model.draw_into(
            folder,
            total_images,
            form=form,
            classes=classes,
            seed=seed,
            batch_images=batch_images,
            on_progress=progress.update,
            **(sampling or {}),
        )
    context.cost["images_per_second"] = round(progress.per_second(total_images), 1)


if __name__ == "__main__":
    main()
