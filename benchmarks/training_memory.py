"""Peak memory of training the diffusion model, by the side of the images, a process each.

    python -m benchmarks.training_memory [--sides 32 128 256] [--batch 16] [--micro 16 4] [--width 64] [--threads 2]

The project's own loop on random colour images, two steps. The images lie in memory once (`dataset MB`); what a process
holds before it trains is subtracted.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from genai_core.config import DiffusionRecipe, TrainingConfig
from genai_core.data.dataset.loader import ResidentBatches
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import ImageShape
from genai_core.progress import Progress
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, train

DATASET_IMAGES, STEPS = 512, 2
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 128, 256])
    parser.add_argument("--micro", type=int, nargs="+", default=[16, 4], help="images at a time")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="measure one side in this process")
    arguments = parser.parse_args()
    if arguments.alone:
        measure(arguments)
        return
    print("| side | images at a time | parameters | dataset MB | peak MB above it |\n|---|---|---|---|---|", flush=True)
    for side in arguments.sides:
        for micro in arguments.micro:
            options = [f"--sides={side}", f"--micro={micro}", f"--batch={arguments.batch}"]
            options += [f"--width={arguments.width}", f"--threads={arguments.threads}"]
            subprocess.run([sys.executable, "-m", "benchmarks.training_memory", "--alone", *options], check=True)


def measure(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    side, micro = arguments.sides[0], arguments.micro[0]
    training = TrainingConfig(
        total_images=STEPS * arguments.batch,
        max_seconds=None,
        batch_images=arguments.batch,
        micro_batch_images=micro,
        learning_rate=1e-3,
        warmup_images=0,
        decay_share=0.5,
        muon=False,
        adam_betas=(0.9, 0.99),
        weight_decay=0.0,
        ema_halflife_images=1000,
        gradient_clip_norm=1.0,
        precision="auto",
        watch={"max_rollbacks": 0, "rollback_rate_factor": 0.5},
        early_stop=None,
        seed=0,
    )
    objective = {
        "kind": "edm",
        "sigma_data": 0.5,
        "log_sigma_mean": -1.2,
        "log_sigma_std": 1.2,
        "label_dropout": 0.1,
        "augment": (),
        "augment_share": 0.0,
    }
    recipe = DiffusionRecipe(
        family="diffusion",
        network={"width": arguments.width, "depth": 1},
        objective=objective,
        training=training,
    )
    images = np.random.default_rng(0).integers(0, 256, (DATASET_IMAGES, 3, side, side), np.uint8)
    labels = np.arange(DATASET_IMAGES) % 10
    model = build_model(recipe, ImageShape(ImageSize.square(side), 3, tuple("abcdefghij")))
    # The pictures taken during training are not the point.
    model.preview_sampling = model.preview_sampling.model_copy(update={"steps": 1})
    before = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            model,
            ResidentBatches(images, labels, batch_images=arguments.batch, seed=0, device=CPU),
            training,
            hardware=Hardware(CPU),
            checkpoints=Checkpoints(Path(folder), "memory", {}),
            checkpoint_every_s=1e9,
            progress=Progress(silent=True),
            stop_requested=lambda: False,
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"| {side} | {micro} | {parameters:,} | {images.nbytes / 2**20:.0f} | {result.peak_memory_mb - before:.0f} |",
        flush=True,
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
