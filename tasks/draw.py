"""Generate a batch of any size from the candidate in this folder, for production and for measuring. Not a stage.

`python -m tasks.draw OUT --images N --seed S [--like DATASET]` creates OUT, which must not exist. With DATASET, a
prepared dataset with which the images will be compared, the classes have the proportions of its training images;
otherwise there are equally many images of each.
"""

import argparse
from pathlib import Path

import numpy as np

from genai_core.data.dataset.dataset import load_dataset
from genai_core.models.artifact import read_config
from genai_core.sampling.sample import proportional_labels
from tasks.context import running
from tasks.generate import CANDIDATE, draw_batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.draw", description=__doc__)
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--images", type=int, required=True, help="number of images")
    parser.add_argument("--seed", type=int, required=True, help="seed of the first image; the others count up from it")
    parser.add_argument("--like", type=Path, help="a dataset whose class proportions the images get")
    arguments = parser.parse_args()
    with running("draw") as context:
        if arguments.images < 1 or arguments.seed < 0:
            raise ValueError(f"expected at least one image and a seed from 0, got {arguments.images}, {arguments.seed}")
        if arguments.out.exists():
            raise ValueError(f"{arguments.out}: exists already; choose another folder")
        classes = labels_like(arguments.like, arguments.images) if arguments.like else None
        draw_batch(context, CANDIDATE, arguments.out, arguments.images, arguments.seed, classes)


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
