"""What generated images are measured against: features and statistics of the real ones, made once a dataset version."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genai_core.config import EvaluationConfig
from genai_core.data.dataset import SPLITS, Split
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import InceptionScore, inception_score
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root

FORMAT = 1
REFERENCE_FILE = "reference.json"


@dataclass(frozen=True)
class SplitReference:
    """One split: features (N, D) float32, the Gaussian fitted to them, and its covariance's root (D, D)."""

    features: npt.NDArray[np.float32]
    stats: FeatureStats
    root: Float64


@dataclass(frozen=True)
class ReferenceDescription:
    """What reference.json says. `kind`, `extractor_sha256` and `dataset` name what the features were made from."""

    kind: str
    extractor_sha256: str
    dataset: str
    counts: dict[str, int]  # images by split
    floor_images: int
    floor_fd: float  # Frechet distance of that many held-out images to the train split
    real_is: float | None  # inception score of the same images; None without a classifier
    real_is_std: float | None


@dataclass(frozen=True)
class Reference:
    """The real images, measured."""

    description: ReferenceDescription
    splits: dict[Split, SplitReference]


def build_reference(
    features: dict[Split, Features], config: EvaluationConfig, *, kind: str, extractor_sha256: str, dataset: str
) -> Reference:
    """Statistics of both splits and the floor: how far held-out real images are from the train split.

    A Frechet distance of few images is too large, so the floor is measured on no more images than a model is.
    """
    splits = {split: _split_reference(features[split].features) for split in SPLITS}
    test = features["test"]
    count = min(len(test.features), config.total_images)
    # Drawn by chance: the manifest's order may be that of the classes.
    chosen = np.random.default_rng(config.seed).permutation(len(test.features))[:count]
    train = splits["train"]
    real_is = _real_inception_score(test.logits[chosen], config) if kind == "classifier" else None
    description = ReferenceDescription(
        kind=kind,
        extractor_sha256=extractor_sha256,
        dataset=dataset,
        counts={split: len(features[split].features) for split in SPLITS},
        floor_images=count,
        floor_fd=frechet_distance(train.stats, train.root, feature_stats(test.features[chosen])),
        real_is=real_is.mean if real_is else None,
        real_is_std=real_is.std if real_is else None,
    )
    return Reference(description, splits)


def save_reference(folder: Path, reference: Reference) -> None:
    """Write a safetensors file a split and reference.json into `folder`."""
    sha256 = {}
    for split, part in reference.splits.items():
        path = folder / f"{split}.safetensors"
        arrays: dict[str, npt.NDArray[Any]] = {"features": part.features, "root": part.root}
        save_file({**arrays, "mean": part.stats.mean, "covariance": part.stats.covariance}, path)
        sha256[split] = _sha256(path)
    values = {"format": FORMAT, **asdict(reference.description), "sha256": sha256}
    (folder / REFERENCE_FILE).write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def load_reference(folder: Path) -> Reference:
    """The reference in `folder`. Raises FileNotFoundError or ValueError when it is missing or damaged."""
    path = folder / REFERENCE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no reference there; run `genai run reference`")
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        found, sha256 = values.pop("format"), values.pop("sha256")
        if found != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {found!r}")
        description = ReferenceDescription(**values)
        splits = {split: _load_split(folder / f"{split}.safetensors", sha256[split]) for split in SPLITS}
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder}: damaged ({error}); delete it and run the stage reference again") from None
    return Reference(description, splits)


def _split_reference(features: npt.NDArray[np.float32]) -> SplitReference:
    stats = feature_stats(features)
    return SplitReference(features, stats, square_root(stats.covariance))


def _real_inception_score(logits: npt.NDArray[np.float32], config: EvaluationConfig) -> InceptionScore:
    # The score depends on the images a split: take as many as a generated split has.
    split_images = config.total_images / config.is_splits
    return inception_score(logits, max(1, round(len(logits) / split_images)))


def _load_split(path: Path, sha256: str) -> SplitReference:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; try `dvc checkout`, or run the stage reference again")
    if _sha256(path) != sha256:
        raise ValueError(f"{path.name} is not what {REFERENCE_FILE} names")
    arrays = load_file(path)
    features = arrays["features"]
    stats = FeatureStats(len(features), arrays["mean"], arrays["covariance"])
    return SplitReference(features, stats, arrays["root"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
