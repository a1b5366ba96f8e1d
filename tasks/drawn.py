"""A model folder, how it is sampled, and the images that it draws to be measured by."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.config import Config
from genai_core.evaluation.reference import ReferenceDescription
from genai_core.models.artifact import ModelDescription, parse_sampling, read_config
from tasks.selection import SELECTION_FILE

TRAINED, SELECTED, FINETUNED = Path("models/trained"), Path("models/selected"), Path("models/finetuned")


@dataclass(frozen=True)
class Contender:
    """A model that is compared: `name` is what people call it."""

    name: str
    folder: Path
    description: ModelDescription
    sampling: Any
    extractor_sha256: str  # that it was chosen by; empty where nothing says so


@dataclass(frozen=True)
class Drawn:
    """Images (N, C, H, W) uint8 and the labels (N,) that they were asked for, or None."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None


def read_contender(name: str, folder: Path, config: Config) -> Contender:
    """Sampling is as the folder's selection.json says; else as params.yaml says of a model of that name.

    Raises FileNotFoundError or ValueError that say what is missing.
    """
    description = read_config(folder)
    family = description.config.family
    chosen = folder / SELECTION_FILE
    if not chosen.is_file() and _is(folder, FINETUNED):
        chosen = SELECTED / SELECTION_FILE
    if chosen.is_file():
        values = json.loads(chosen.read_text())
        sha256 = values.get("protocol", {}).get("extractor_sha256", "")
        return Contender(name, folder, description, parse_sampling(family, values["sampling"]), sha256)
    own = config.models.get(folder.resolve().name)
    if own is None or own.family != family:
        raise ValueError(
            f"{folder}: nothing says how to sample it: expected {SELECTION_FILE} in it, or a {family} model named "
            f"{folder.resolve().name!r} in params.yaml"
        )
    return Contender(name, folder, description, own.sampling, "")


def check_measurable(contender: Contender, real: ReferenceDescription) -> None:
    """Raises ValueError, naming both sides, unless the model draws what the reference is of."""
    shape = contender.description.shape
    own, theirs = (shape.channels, shape.image_size), (real.channels, real.image_size)
    if own != theirs:
        raise ValueError(
            f"{contender.name} draws images of {own[1]} pixels a side and {own[0]} channels, the reference has "
            f"{theirs[1]} and {theirs[0]}: figures of both would not compare"
        )
    if shape.classes != real.classes:
        gone, new = sorted(set(shape.classes) - set(real.classes)), sorted(set(real.classes) - set(shape.classes))
        raise ValueError(
            f"{contender.name} was trained on other classes than the reference has (only the model: "
            f"{', '.join(gone) or 'none'}; only the reference: {', '.join(new) or 'none'}); compare models of one set "
            "of classes"
        )


def notes_on(contenders: list[Contender], real: ReferenceDescription, extractor_sha256: str) -> list[str]:
    """What a reader of a comparison must know: models of other data, or chosen by another extractor."""
    notes = []
    if len({contender.description.dataset for contender in contenders}) > 1:
        trained = ", ".join(f"{c.name} on {c.description.dataset[:12]}" for c in contenders)
        notes.append(f"trained on different data: {trained}; both are measured against dataset {real.dataset[:12]}")
    notes += [
        f"{contender.name} was chosen by the extractor {contender.extractor_sha256[:12]}; here it is measured by this "
        f"workspace's, {extractor_sha256[:12]}"
        for contender in contenders
        if contender.extractor_sha256 not in ("", extractor_sha256)
    ]
    return notes


def _is(folder: Path, place: Path) -> bool:
    return folder.resolve() == place.resolve()
