"""The operations `nearest` and `explain`: a picture beside the training images, and as the extractor classifies it.

Both are told where the outputs of the model's version are: `folders` with `extractor`, `dataset` and `reference`, and
the `fingerprint` of the dataset; null: whatever is there. What they open is kept for the next question.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.config import PARAMS_FILE, ExtractorConfig, load_config
from genai_core.data.dataset.dataset import load_dataset
from genai_core.evaluation.extractor import load_extractor, read_description
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.exploring.attribution import REPLACEMENTS, Pixels, attribute
from genai_core.exploring.heat_picture import over_picture
from genai_core.exploring.nearest import TrainingImages
from genai_core.serving.frames import Frame
from tasks.serving.errors import InputFault, ModelFault
from tasks.serving.uploads import picture

Answer = tuple[dict[str, Any], list[bytes]]

_OF_AN_IMAGE = ("distance", "copied", "identical", "label", "source")
_KEPT = 4  # versions: the features stay on disk, the extractors in memory
_SEED = 0  # of the training images that replace patches


@dataclass(frozen=True)
class Explored:
    """The opened outputs of one version. replacements: (N, C, H, W), whose parts replace occluded ones."""

    training: TrainingImages
    extractor: FeatureNetwork
    description: ExtractorDescription
    replacements: Pixels


def nearest(frame: Frame, device: str) -> Answer:
    """Find the `count` training images nearest to the frame's picture: their values and their pixels.

    Raises InputFault, ModelFault.
    """
    explored = opened(frame, device)
    try:
        found = explored.training.near(picture(frame), frame.header["count"])
    except ValueError as error:
        raise InputFault(str(error), param="image") from None
    except FileNotFoundError:
        raise ModelFault("the real images have changed since they were opened", code="no_real_images") from None
    values = {
        "images": [{name: getattr(image, name) for name in _OF_AN_IMAGE} for image in found.images],
        "shape": [len(found.images), *found.images[0].pixels.shape],
        "copied": found.copied,
        "threshold": found.threshold,
        "training_images": found.training_images,
    }
    return values, [b"".join(image.pixels.tobytes() for image in found.images)]


def explain(frame: Frame, device: str) -> Answer:
    """Find what drives the decision for the class named `class`; null: for the one that the classifier sees.

    The binary parts are the heat, (H, W) from 0 to 255, the heat over the picture, (3, H, W), and the picture. Raises
    InputFault, ModelFault.
    """
    explored = opened(frame, device)
    name, classes, image = frame.header["class"], explored.description.classes, picture(frame)
    if name is not None and name not in classes:
        known = f"available: {', '.join(classes)}" if classes else "this model's classifier knows no classes"
        raise InputFault(f"class: no such class: {name!r}; {known}", param="class")
    try:
        label = None if name is None else classes.index(name)
        found = attribute(explored.extractor, explored.description, image, explored.replacements, label)
    except ValueError as error:
        raise InputFault(str(error), param="image") from None
    values = {
        "shape": list(image.shape),
        "meaning": found.meaning,
        "largest": found.largest,
        "class": None if found.label is None else classes[found.label],
        "probability": found.probability,
    }
    heat = (found.heat * 255).round().astype(np.uint8)
    return values, [heat.tobytes(), over_picture(image, found.heat).tobytes(), image.tobytes()]


def opened(frame: Frame, device: str) -> Explored:
    """Open the outputs of a version, once. Raises ModelFault, also if the real images have changed meanwhile."""
    folders = frame.header["folders"]
    try:
        return _opened(
            folders["extractor"], folders["dataset"], folders["reference"], frame.header["fingerprint"], device
        )
    except (FileNotFoundError, ValueError) as error:
        raise ModelFault(str(error), code="no_real_images") from None


@lru_cache(_KEPT)
def _opened(
    extractor_folder: str, dataset_folder: str, reference_folder: str, fingerprint: str | None, device: str
) -> Explored:
    extractor, description = load_extractor(extractor_folder, _module_config(Path(extractor_folder)), device)
    dataset = load_dataset(Path(dataset_folder))
    if fingerprint not in (None, dataset.info.fingerprint):
        raise ValueError(f"{dataset_folder}: the real images have changed since the model was loaded")
    rows = dataset.rows("train")
    chosen = np.random.default_rng(_SEED).permutation(len(rows))[:REPLACEMENTS]
    return Explored(
        TrainingImages(dataset, Path(reference_folder), extractor, description),
        extractor,
        description,
        dataset.images_at(rows.iloc[chosen]),
    )


def _module_config(folder: Path) -> ExtractorConfig | None:
    """The checkout's own params.yaml says whether a network of its own may be loaded; others need none."""
    return load_config(Path(PARAMS_FILE)).extractor if read_description(folder).kind == "module" else None
