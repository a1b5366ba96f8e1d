"""Generate a batch of any size, for production, for measuring and for `genai generate`. Not a stage.

`python -m tasks.draw OUT --images N --seed S` creates OUT, which must not exist, with the candidate in this folder, or
with --model. There are equally many images of each class, or of those named by --class. With --like DATASET, a prepared
dataset with which the images will be compared, the classes have the proportions of its training images.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.dataset import load_dataset
from genai_core.models.artifact import read_config
from genai_core.sampling.sample import proportional_labels
from tasks.context import running
from tasks.device import torch_device
from tasks.generate import CANDIDATE, check_selection, draw_batch
from tasks.own_models import load_own


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.draw", description=__doc__)
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--images", type=int, required=True, help="number of images")
    parser.add_argument("--seed", type=int, required=True, help="seed of the first image; the others count up from it")
    parser.add_argument("--like", type=Path, help="a dataset whose class proportions the images get")
    parser.add_argument("--model", type=Path, help="a model's folder; by default the candidate in this folder")
    parser.add_argument("--class", dest="classes", action="append", help="draw these classes, in turn; may be repeated")
    parser.add_argument("--set", dest="options", action="append", default=[], help="a sampling option: NAME=JSON")
    parser.add_argument("--format", choices=["png", "tar"], help="by default that of params.yaml")
    arguments = parser.parse_args()
    with running("draw") as context:
        if arguments.images < 1 or arguments.seed < 0:
            raise ValueError(f"expected at least one image and a seed from 0, got {arguments.images}, {arguments.seed}")
        if arguments.out.exists():
            raise ValueError(f"{arguments.out}: exists already; choose another folder")
        if arguments.model is None:
            check_selection(CANDIDATE)
        device = str(torch_device(context.config))
        classes = labels_like(arguments.like, arguments.images) if arguments.like else None
        draw_batch(
            context,
            load_own(arguments.model or CANDIDATE, device),
            arguments.out,
            arguments.images,
            arguments.seed,
            form=arguments.format or context.config.generate.format,
            classes=in_turn(arguments.classes, arguments.images) if arguments.classes else classes,
            sampling=dict(map(sampling_option, arguments.options)),
            # A named model's are for a person, who may draw them on the page too; the candidate's are measured.
            batch_images=None if arguments.model else context.config.generate.batch_images,
        )


def in_turn(classes: Sequence[str], images: int) -> list[str]:
    """Return one class per image: the given ones in turn."""
    return [classes[index % len(classes)] for index in range(images)]


def sampling_option(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE; VALUE is JSON, else a plain word. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--set: expected NAME=VALUE, such as steps=20, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def labels_like(folder: Path, images: int) -> list[int] | None:
    """Return the model's labels, one per image, in the class proportions of a dataset's training images.

    Classes are matched by name, as another version of the data may have more of them. None if the dataset and the model
    have no class in common.
    """
    dataset = load_dataset(folder)
    classes, found = dataset.info.classes, dataset.labels("train")
    counts = {} if found is None else dict(zip(classes, np.bincount(found, minlength=len(classes)), strict=True))
    own = [int(counts.get(name, 0)) for name in read_config(CANDIDATE).shape.classes]
    labels = proportional_labels(images, own) if sum(own) else None
    return None if labels is None else labels.tolist()


if __name__ == "__main__":
    main()
