"""A search of the noise levels that fashion_mnist.yaml draws its diffusion model at.

    python -m benchmarks.noise_levels --out FOLDER [--device cuda] [--trainings 4] [--search-seconds 120]

Trains the recipe with several seeds, then moves levels and guidance by chance and keeps what brings the mean distance
of all trainings but one to the train split down; the last one tells whether it holds for a model that was not searched
on. As in Sabour et al. 2024 (arXiv 2404.14507) the levels are fitted to the data; there by a bound, here by the figure
itself. The test split is not looked at. Weights stay in FOLDER; a second call searches again.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from benchmarks.peers import Trained
from benchmarks.quality_race import IMAGE_SIZE, ROOT, resident, train_for
from benchmarks.race_judge import Judge
from genai_core.config import DiffusionSampling, ModelConfig
from genai_core.data.dataset.dataset import Dataset
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape
from genai_core.progress import Progress
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, train

FIRST_STEP = 0.2  # of the logarithms of the levels, and of the guidance
PATIENCE = 20  # tries without a better one, after which the steps become smaller
CLOSEST = 0.05  # of two levels, in their logarithms
FINAL_SAMPLES, FINAL_SEEDS = 20_000, (1_000_000, 2_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--trainings", type=int, default=4, help="2 or more; the last is not searched on")
    parser.add_argument("--images", type=int, default=257_024, help="that each training sees")
    parser.add_argument("--samples", type=int, default=4_000, help="of each model in a try")
    parser.add_argument("--final-samples", type=int, default=FINAL_SAMPLES)
    parser.add_argument("--search-seconds", type=float, default=120)
    arguments = parser.parse_args()
    dataset = fashion_mnist_dataset(arguments.out / "data", arguments.data, IMAGE_SIZE)
    judge = Judge(arguments.out / "judge", dataset, 1_000, arguments.device)
    values = YAML(typ="safe").load(ROOT / "benchmarks" / "fashion_mnist.yaml")["diffusion"]
    values["training"]["muon"] = False  # as with the figures so far
    recipe: Any = TypeAdapter(ModelConfig).validate_python(values)
    models = [trained(recipe, seed, arguments, dataset) for seed in range(arguments.trainings)]

    def distance(model: GenerativeModel, sampling: DiffusionSampling, samples: int, seed: int) -> float:
        labels = equal_labels(samples, len(CLASSES))
        assert labels is not None
        images = sample_images(model, labels, image_seeds(samples, seed), sampling, 2_000)
        return judge.measure(images, labels.numpy())["fd_classifier"]

    spaced = recipe.sampling.model_copy(update={"noise_levels": None})
    found = search(
        recipe.sampling,
        lambda sampling: float(np.mean([distance(model, sampling, arguments.samples, 0) for model in models[:-1]])),
        arguments.search_seconds,
    )
    for name, sampling in (("spaced", spaced), ("recipe", recipe.sampling), ("found", found)):
        figures = [distance(models[-1], sampling, arguments.final_samples, seed) for seed in FINAL_SEEDS]
        print(f"{name}, the model not searched on: {', '.join(f'{figure:.3f}' for figure in figures)}", flush=True)


def trained(recipe: Any, seed: int, arguments: argparse.Namespace, dataset: Dataset) -> GenerativeModel:
    """The recipe's model, trained with that seed, or as an earlier call left it."""
    folder = arguments.out / f"seed-{seed}"
    config = recipe.training.model_copy(update={"total_images": arguments.images, "seed": seed})
    torch.manual_seed(seed)
    model = build_model(recipe, ImageShape(ImageSize.square(IMAGE_SIZE), 1, CLASSES)).to(arguments.device)

    def run() -> Trained:
        result = train(
            model,
            resident(dataset, config.batch_images, arguments.device),
            config,
            hardware=Hardware(arguments.device),
            checkpoints=Checkpoints(folder / "checkpoints", model.family, {"images": arguments.images}),
            checkpoint_every_s=60.0,
            progress=Progress(folder / "progress.json"),
            stop_requested=lambda: False,
        )
        return Trained(result.images, result.seconds)

    train_for(folder, model, run)
    return model.eval()


def search(
    begin: DiffusionSampling, distance: Callable[[DiffusionSampling], float], seconds: float
) -> DiffusionSampling:
    """Of the options that were tried for so long, from `begin` on, those of the least distance."""
    random, step, failures, tries = np.random.default_rng(0), FIRST_STEP, 0, 0
    best, least = begin, distance(begin)
    print(f"begins at {least:.3f}", flush=True)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        levels, scale = np.log(best.noise_levels), best.guidance_scale
        what = random.integers(3)
        if what == 0:
            levels[random.integers(len(levels))] += random.normal() * step
        elif what == 1:
            levels += random.normal(size=len(levels)) * step * 0.4
        else:
            scale = max(1.0, scale + random.normal() * step)
        if (np.diff(levels) > -CLOSEST).any():
            continue
        tried = best.model_copy(update={"noise_levels": tuple(np.exp(levels).tolist()), "guidance_scale": float(scale)})
        tries, failures = tries + 1, failures + 1
        if (figure := distance(tried)) < least:
            best, least, failures = tried, figure, 0
            shown = ", ".join(f"{level:.3g}" for level in np.exp(levels))
            print(f"{figure:.3f} after {tries} tries: noise_levels [{shown}], guidance_scale {scale:.2f}", flush=True)
        elif failures > PATIENCE:
            step, failures = step * 0.6, 0
    return best


if __name__ == "__main__":
    main()
