"""The stages `evaluate`: generate images with a model and measure them against the real ones.

`python -m tasks.evaluate WHAT`, with WHAT trained/NAME or finetuned, reads models/WHAT; it writes metrics/WHAT.json,
metrics/replicates/WHAT.csv and plots/evaluated/WHAT.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from genai_core.config import Config, DistilledRecipe, ModelRecipe, SamplingConfig
from genai_core.data.dataset.dataset import load_dataset
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.memorisation import NearCopies
from genai_core.evaluation.metrics_file import metrics_json, replicates_csv
from genai_core.evaluation.model_comparison import Comparison, compare_features
from genai_core.evaluation.model_evaluation import Evaluation, evaluate_features
from genai_core.evaluation.reference import Reference, load_reference
from genai_core.evaluation.set_figures import Figure
from genai_core.evaluation.stability import measure_stability
from genai_core.models.artifact import WEIGHTS_FILE, load_model, read_config, selected_sampling
from genai_core.models.protocol import ImageShape
from genai_core.reporting.grids import class_grid, image_grid, save_png
from genai_core.sampling.sample import image_seeds, proportional_labels, sample_images
from tasks.context import new_folder, running, write_json, write_text
from tasks.device import torch_device
from tasks.robustness import write_curves

EXTRACTOR = Path("models/extractor")
REFERENCE = Path("data/reference")
DATASET = Path("data/prepared")
FINETUNED, BASE = "finetuned", Path("models/base")
CLOSEST_PAIRS = 10
HEADLINES = ("fd", "kid", "precision", "recall", "is", "near_copies", "near_identical")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="trained/NAME, or finetuned")
    what = parser.parse_args().what
    with running("evaluate") as context:
        config, progress = context.config.evaluation, context.progress
        folder = Path("models") / what
        description, device = read_config(folder), torch_device(context.config)
        sampling = sampling_of(what, description.config, context.config)
        extractor, extractor_description = load_extractor(EXTRACTOR, context.config.extractor, device)
        reference = load_reference(REFERENCE)

        labels = proportional_labels(config.total_images, reference.class_counts)
        seeds = image_seeds(config.total_images, config.seed)

        def drawn(folder: Path, sampling: SamplingConfig) -> npt.NDArray[np.uint8]:
            progress.begin("images", total=config.total_images, unit="images")
            model = load_model(folder, str(device))
            return sample_images(model, labels, seeds, sampling, config.batch_images, progress.update)

        images = drawn(folder, sampling)
        context.cost["images_per_second"] = round(progress.per_second(config.total_images), 1)
        requested = None if labels is None else labels.numpy()
        features = extract_features(extractor, images, config.batch_images)
        against: dict[str, Any] = {}
        if what == FINETUNED and is_comparable_base(BASE, description.shape, context.config):
            of_base = extract_features(extractor, drawn(BASE, selected_sampling(BASE)), config.batch_images)
            compared = compare_features(of_base, features, requested, reference, extractor_description, config)
            evaluation, against = compared.second, {"base": base_values(compared)}
        else:
            evaluation = evaluate_features(features, requested, reference, extractor_description, config)

        with new_folder(Path("plots/evaluated") / what) as plots:
            save_png(plots / "samples.png", class_grid(images, requested, description.shape.classes))
            save_png(plots / "closest.png", closest_pairs(images, evaluation.copies))
            write_curves(plots, images, requested, (extractor, extractor_description), reference, context.config)
        model = {
            "family": description.config.family,
            "parameters": description.parameters,
            "sha256": description.sha256[WEIGHTS_FILE],
        }
        write_json(
            Path("metrics") / f"{what}.json",
            {
                **metrics_json(evaluation),
                **against,
                "stability": stability_values(features.features, reference, config.seed),
                "model": model,
                "sampling": sampling.model_dump(mode="json"),
                "warnings": list(evaluation.warnings),
            },
        )
        write_text(Path("metrics/replicates") / f"{what}.csv", replicates_csv(evaluation))
        show(what, evaluation)


def is_comparable_base(base: Path, shape: ImageShape, config: Config) -> bool:
    """Whether the fine-tuned model continues a base that draws the same classes, so that the two can be compared.

    The selected model needs no second measurement: its figures are of the same data, seeds and options.
    """
    return config.finetune.start == base.name and read_config(base).shape == shape


def base_values(compared: Comparison) -> dict[str, Any]:
    """Return the base's figures on this data, and the differences, fine-tuned minus base, with their intervals."""
    figures = metrics_json(compared.first)
    differences = {
        name: {"value": found.value, "low": found.interval.low, "high": found.interval.high}
        for name, found in compared.differences.items()
    }
    return {"figures": {name: figures[name] for name in differences}, "difference": differences}


def stability_values(features: npt.NDArray[np.float32], reference: Reference, seed: int) -> dict[str, float | int]:
    """Return distances between batches of the model, and of equally large batches of training images; may be empty."""
    found = measure_stability(features, reference.splits["train"].features, seed)
    if found is None:
        return {}
    values: dict[str, float | int] = {"batch_images": found.images}
    for name, distances in (("generated", found.generated), ("real", found.real)):
        if distances is not None:
            values |= {f"{name}_mean_fd": float(f"{distances.mean():.6g}")}
            values |= {f"{name}_largest_fd": float(f"{distances.max():.6g}")}
    return values


def sampling_of(what: str, recipe: ModelRecipe, config: Config) -> SamplingConfig:
    """Return the sampling options: from params.yaml for a trained model; for a fine-tuned one, its origin's.

    A few-step model draws in its own way.
    """
    if isinstance(recipe, DistilledRecipe):
        return recipe.few_step.sampling
    if what.startswith("trained/"):
        return config.model(what.removeprefix("trained/")).sampling
    if what != FINETUNED:
        raise ValueError(f"expected trained/NAME or finetuned, got {what!r}")
    return selected_sampling(Path("models") / config.finetune.start)


def closest_pairs(images: npt.NDArray[np.uint8], copies: NearCopies) -> Image.Image:
    """Draw the images (N, C, H, W) uint8 closest to a training image, each above that image, closest first."""
    closest = copies.closest(CLOSEST_PAIRS)
    dataset = load_dataset(DATASET)
    originals = dataset.images_at(dataset.rows("train").iloc[copies.index[closest]])
    pairs = np.concatenate([images[closest], originals])
    return image_grid(pairs, columns=len(closest), row_captions=("generated", "nearest real"))


def show(what: str, evaluation: Evaluation) -> None:
    """Print one line per model with the headline figures only; warnings go to stderr."""
    kind = evaluation.protocol.extractor
    names = [f"{name}_{kind}" for name in HEADLINES] + [f"fd_{kind}_over_floor", "label_agreement"]
    shown = [f"{name} {text(evaluation.figures[name])}" for name in names if name in evaluation.figures]
    print(f"{what}: " + ", ".join(shown))
    for warning in evaluation.warnings:
        print(f"{what}: warning: {warning}", file=sys.stderr)


def text(figure: Figure) -> str:
    """Format a figure as 1.234 [1.1, 1.3]."""
    ends = f" [{figure.interval.low:.3g}, {figure.interval.high:.3g}]" if figure.interval else ""
    return f"{figure.value:.4g}{ends}"


if __name__ == "__main__":
    main()
