"""Training images/s on a GPU with the steps recorded as CUDA graphs, and started kernel by kernel.

    python -m benchmarks.gpu_recording [--steps 100]

The networks and batches of fashion_mnist_gpu.yaml at 32x32, in the training engine's own step; a VQ-VAE in each of its
two parts. As the pipeline's stages run: deterministic. Medians of five stretches, one after the other.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.gpu_speed import engine_step, median_seconds
from genai_core.config import ModelConfig
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import ImageShape

SHAPE = ImageShape(ImageSize.square(32), 1, tuple("0123456789"))
SHARES = {"vqvae": (0.1, 0.9)}  # of the run, at which steps are timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    steps = parser.parse_args().steps
    warnings.filterwarnings("ignore", message=".*deterministic.*")
    torch.use_deterministic_algorithms(True, warn_only=True)
    print(torch.cuda.get_device_name())
    print("\n| model | batch | images/s, kernel by kernel | recorded | ratio |\n|---|---|---|---|---|")
    for family, values in YAML(typ="safe").load(Path(__file__).with_name("fashion_mnist_gpu.yaml")).items():
        recipe: Any = TypeAdapter(ModelConfig).validate_python(values)
        for share in SHARES.get(family, (0.1,)):
            model = build_model(recipe, SHAPE)
            batch = recipe.training.batch_images
            plain, recorded = (
                batch / median_seconds(engine_step(model, SHAPE, recipe, share=share, records=records), steps)
                for records in (False, True)
            )
            name = f"{family}, {' and '.join(model.phases_at(share))}"
            print(f"| {name} | {batch} | {plain:,.0f} | {recorded:,.0f} | {recorded / plain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
