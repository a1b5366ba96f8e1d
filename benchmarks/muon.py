"""Muon beside AdamW: the recipes of the race (fashion_mnist.yaml) with and without `training.muon`, all else alike.

    OMP_WAIT_POLICY=passive python -m benchmarks.muon --out FOLDER [--families diffusion vae vqvae gan] [--threads 1]

Fashion-MNIST at 32x32, as in benchmarks/quality_race.py, and measured by its classifier against the train images.
Processor seconds are those of the training, so that other work on the machine changes them little.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from benchmarks.quality_race import IMAGE_SIZE, ROOT, resident
from benchmarks.race_judge import Judge
from genai_core.config import ModelConfig
from genai_core.data.dataset.dataset import Dataset
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape
from genai_core.progress import Progress
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, train

IMAGES = {"diffusion": 32_000, "vae": 48_000, "vqvae": 48_000, "gan": 12_800}
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True, help="for the dataset and the classifier that measures")
    parser.add_argument("--families", nargs="+", choices=IMAGES, default=list(IMAGES))
    parser.add_argument("--images", type=int, help="that each training sees  [default: by family]")
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = fashion_mnist_dataset(arguments.out / "data", arguments.data, IMAGE_SIZE)
    judge = Judge(arguments.out / "judge", dataset, arguments.samples, CPU)
    recipes = YAML(typ="safe").load(ROOT / "benchmarks" / "fashion_mnist.yaml")
    print("| family | images | optimizer | FD | agreement | processor s |\n|---|---|---|---|---|---|")
    for family in arguments.families:
        images = arguments.images or IMAGES[family]
        for muon in (False, True):
            recipes[family]["training"].update(muon=muon, total_images=images)
            config: Any = TypeAdapter(ModelConfig).validate_python(recipes[family])
            model, seconds = trained(config, dataset)
            labels = equal_labels(arguments.samples, len(CLASSES))
            assert labels is not None
            drawn = sample_images(model, labels, image_seeds(arguments.samples, 500_000), config.sampling, 250)
            figures = judge.measure(drawn, labels.numpy())
            print(
                f"| {family} | {images:,} | {'Muon' if muon else 'AdamW'} | {figures['fd_classifier']:.2f} "
                f"| {figures['label_agreement']:.3f} | {seconds:.0f} |",
                flush=True,
            )


def trained(config: Any, dataset: Dataset) -> tuple[GenerativeModel, float]:
    """The recipe's model, and the processor seconds of its training."""
    torch.manual_seed(config.training.seed)
    model = build_model(config, ImageShape(ImageSize.square(IMAGE_SIZE), 1, CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        train(
            model,
            resident(dataset, config.training.batch_images, CPU),
            config.training,
            hardware=Hardware(CPU),
            checkpoints=Checkpoints(Path(folder), "run", {}),
            checkpoint_every_s=1e9,
            progress=Progress(silent=True),
            stop_requested=lambda: False,
        )
        return model.eval(), time.process_time() - began


if __name__ == "__main__":
    main()
