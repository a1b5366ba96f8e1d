"""A model folder, its sampling options, and the images generated to measure it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from genai_core.config import Config, DistilledRecipe, FinetuneConfig, SamplingConfig
from genai_core.evaluation.reference import ReferenceDescription
from genai_core.models.artifact import CONFIG_FILE, WEIGHTS_FILE, ModelDescription, parse_sampling, read_config
from tasks.selection import SELECTION_FILE

TRAINED, FINETUNED = Path("models/trained"), Path("models/finetuned")


@dataclass(frozen=True)
class Contender:
    """A model in a comparison; `name`: for display."""

    name: str
    folder: Path
    description: ModelDescription
    sampling: SamplingConfig
    extractor_sha256: str  # of the extractor it was chosen by; empty if unknown


@dataclass(frozen=True)
class DrawnImages:
    """Images (N, C, H, W) uint8 and their requested labels (N,), or None."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None


def read_contender(name: str, folder: Path, config: Config, workspace: Path = Path()) -> Contender:
    """Read a model; sampling options come from the folder's selection.json, else from params.yaml by its name.

    Those of models/finetuned are its origin's.

    Raises FileNotFoundError or ValueError that say what is missing.
    """
    description = read_config(folder)
    family = description.config.family
    chosen = folder / SELECTION_FILE
    distilled = isinstance(description.config, DistilledRecipe)
    if not chosen.is_file() and _is(folder, workspace / FINETUNED) and not distilled:
        chosen = continued(folder, description, config, workspace) / SELECTION_FILE
    if chosen.is_file():
        values = json.loads(chosen.read_text())
        sha256 = values.get("protocol", {}).get("extractor_sha256", "")
        return Contender(name, folder, description, parse_sampling(family, values["sampling"]), sha256)
    if isinstance(description.config, DistilledRecipe):
        return Contender(name, folder, description, description.config.few_step.sampling, "")
    own = config.models.get(folder.resolve().name)
    if own is None or own.family != family:
        raise ValueError(
            f"{folder}: no sampling options found: expected {SELECTION_FILE} in it, or a {family} model named "
            f"{folder.resolve().name!r} in params.yaml"
        )
    return Contender(name, folder, description, own.sampling, "")


def continued(folder: Path, description: ModelDescription, config: Config, workspace: Path) -> Path:
    """Return the folder of the model that models/finetuned continues, by its weights: its sampling options are there.

    What finetune.start names may have changed since, so the other one is tried, too. Raises ValueError if neither has
    these weights.
    """
    origin = str(description.training_summary.get("started from", ""))
    starts = get_args(FinetuneConfig.model_fields["start"].annotation)
    for start in sorted(starts, key=lambda start: start != config.finetune.start):
        place = workspace / "models" / str(start)
        if (place / CONFIG_FILE).is_file() and origin == f"weights {read_config(place).sha256[WEIGHTS_FILE]}":
            return place
    raise ValueError(
        f"{folder} continues a model that is neither models/selected nor models/base now ({origin[:20]}), so nothing "
        "says how it draws; bring it up to date: genai run finetune"
    )


def check_measurable(contender: Contender, real: ReferenceDescription) -> None:
    """Raise ValueError, naming both sides, unless the model's images have the reference's shape and classes."""
    shape = contender.description.shape
    own, theirs = (shape.channels, shape.image_size), (real.channels, real.image_size)
    if own != theirs:
        raise ValueError(
            f"{contender.name} generates images of {own[1]} pixels and {own[0]} channels, the reference has "
            f"{theirs[1]} and {theirs[0]}: their figures are not comparable"
        )
    if shape.classes != real.classes:
        gone, new = sorted(set(shape.classes) - set(real.classes)), sorted(set(real.classes) - set(shape.classes))
        raise ValueError(
            f"{contender.name} was trained on other classes than the reference has (only the model: "
            f"{', '.join(gone) or 'none'}; only the reference: {', '.join(new) or 'none'}); compare models with the "
            "same classes"
        )


def notes_on(contenders: list[Contender], real: ReferenceDescription, extractor_sha256: str) -> list[str]:
    """Return notes for the reader of a comparison: models of other data, or chosen by another extractor."""
    notes = []
    if len({contender.description.dataset for contender in contenders}) > 1:
        trained = ", ".join(f"{c.name} on {c.description.dataset[:12]}" for c in contenders)
        notes.append(f"trained on different data: {trained}; both are measured against dataset {real.dataset[:12]}")
    notes += [
        f"{contender.name} was chosen by the extractor {contender.extractor_sha256[:12]}; here it is measured with "
        f"this workspace's, {extractor_sha256[:12]}"
        for contender in contenders
        if contender.extractor_sha256 not in ("", extractor_sha256)
    ]
    return notes


def _is(folder: Path, place: Path) -> bool:
    return folder.resolve() == place.resolve()
