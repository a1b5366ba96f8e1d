"""Measure two models alike: `python -m tasks.compare_models CANDIDATE [--against CHAMPION] --out FOLDER`.

Not a stage of dvc.yaml: `genai compare` and the gate of a retraining run it in a workspace that has an extractor and a
reference. FOLDER gets comparison.json (docs/evaluation.md has its keys), samples.png and closest.png. A is the
champion, B the candidate; every difference is B minus A.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from threadpoolctl import threadpool_limits

from genai_core.config import PARAMS_FILE, EvaluationConfig, load_config
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.metrics_file import metrics_json
from genai_core.evaluation.model_comparison import Comparison, compare_features
from genai_core.evaluation.model_evaluation import Evaluation, evaluate_features
from genai_core.evaluation.reference import Reference, load_reference
from genai_core.models.artifact import WEIGHTS_FILE, load_model
from genai_core.reporting.grids import class_grid, save_png
from genai_core.reporting.side_by_side import side_by_side
from genai_core.sampling.sample import image_seeds, proportional_labels, sample_images
from tasks.context import write_json
from tasks.device import torch_device
from tasks.drawn import Contender, DrawnImages, check_measurable, notes_on, read_contender
from tasks.errors import one_line
from tasks.evaluate import closest_pairs
from tasks.gate_values import gate_values

EXTRACTOR, REFERENCE = Path("models/extractor"), Path("data/reference")
GRID_IMAGES = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.compare_models", description=__doc__)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--against", type=Path, help="the champion; without it only the candidate is measured")
    parser.add_argument("--or-alone", action="store_true", help="skip a champion that generates incompatible images")
    parser.add_argument("--out", type=Path, required=True, help="output folder, relative to the current folder")
    parser.add_argument("--name", help="name of the candidate")
    parser.add_argument("--against-name", help="name of the champion")
    arguments = parser.parse_args()
    with one_line("compare"):
        config = load_config(Path(PARAMS_FILE))
        device = torch_device(config)
        threadpool_limits(config.compute.cpu_threads, user_api="blas")
        extractor, extractor_description = load_extractor(EXTRACTOR, config.extractor, device)
        reference = load_reference(REFERENCE)
        given = [(arguments.name, arguments.candidate)]
        if arguments.against:
            given.insert(0, (arguments.against_name, arguments.against))
        contenders = [read_contender(name or str(folder), folder, config) for name, folder in given]
        alone = incomparable_because(contenders[0], reference) if arguments.against and arguments.or_alone else ""
        if alone:
            print(f"compare: {alone}", flush=True)
            del contenders[0]
        for contender in contenders:
            check_measurable(contender, reference.description)
        drawn, features = [], []
        for contender in contenders:
            print(f"compare: generating {config.evaluation.total_images:,} images of {contender.name}", flush=True)
            drawn.append(draw(contender, str(device), config.evaluation, reference))
            features.append(extract_features(extractor, drawn[-1].images, config.evaluation.batch_images))
        print("compare: figures and intervals", flush=True)
        labels, compared = drawn[-1].labels, None
        if len(contenders) > 1:
            compared = compare_features(
                features[0],
                features[1],
                labels,
                reference,
                extractor_description,
                config.evaluation,
                config.gate.against,
            )
            evaluations = [compared.first, compared.second]
        else:
            evaluations = [evaluate_features(features[0], labels, reference, extractor_description, config.evaluation)]
        values = {
            **described(contenders, evaluations, compared),
            "gate": {**gate_values(evaluations, drawn, features, compared, reference, config), "alone": alone},
            "notes": [
                *notes_on(contenders, reference.description, extractor_description.sha256),
                *dict.fromkeys(warning for evaluation in evaluations for warning in evaluation.warnings),
            ],
            "protocol": evaluations[-1].protocol.to_json(),
        }
        # Not new_folder, which replaces the whole folder: it is the user's, and may contain other files.
        arguments.out.mkdir(parents=True, exist_ok=True)
        save_png(arguments.out / "samples.png", same_seeds(contenders, drawn, reference))
        save_png(arguments.out / "closest.png", closest_pairs(drawn[-1].images, evaluations[-1].copies))
        write_json(arguments.out / "comparison.json", values)


def incomparable_because(champion: Contender, reference: Reference) -> str:
    """Return why the champion's images are not comparable with the reference; "" if they are."""
    try:
        check_measurable(champion, reference.description)
    except ValueError as error:
        return f"production cannot be compared with the candidate: {error}"
    return ""


def draw(contender: Contender, device: str, config: EvaluationConfig, reference: Reference) -> DrawnImages:
    """Generate a model's images; image i of every model has the same seed and label."""
    labels = proportional_labels(config.total_images, reference.class_counts)
    seeds = image_seeds(config.total_images, config.seed)
    images = sample_images(load_model(contender.folder, device), labels, seeds, contender.sampling, config.batch_images)
    return DrawnImages(images, None if labels is None else labels.numpy())


def described(
    contenders: list[Contender], evaluations: list[Evaluation], compared: Comparison | None
) -> dict[str, Any]:
    """Return the blocks "a", "b", "differences" and "verdict"."""
    models = []
    for contender, evaluation in zip(contenders, evaluations, strict=True):
        figures = metrics_json(evaluation)
        del figures["protocol"]
        models.append(
            {
                "name": contender.name,
                "folder": str(contender.folder),
                "family": contender.description.config.family,
                "weights_sha256": contender.description.sha256[WEIGHTS_FILE],
                "dataset": contender.description.dataset,
                "sampling": contender.sampling.model_dump(mode="json"),
                "figures": figures,
            }
        )
    differences = {
        name: {
            "value": found.value,
            "low": found.interval.low,
            "high": found.interval.high,
            "beyond_noise": found.beyond_noise,
        }
        for name, found in (compared.differences if compared else {}).items()
    }
    verdict = asdict(compared.verdict) if compared else None
    return {"a": models[0] if compared else None, "b": models[-1], "differences": differences, "verdict": verdict}


def same_seeds(contenders: list[Contender], drawn: list[DrawnImages], reference: Reference) -> Image.Image:
    """Draw grids from the same seeds and labels, so that images at the same position have the same latent."""
    classes = reference.description.classes
    grids = [class_grid(found.images, found.labels, classes, GRID_IMAGES) for found in drawn]
    letters = "AB" if len(contenders) > 1 else "B"
    titles = [f"{letter}: {contender.name}" for letter, contender in zip(letters, contenders, strict=True)]
    return side_by_side(grids, titles)


if __name__ == "__main__":
    main()
