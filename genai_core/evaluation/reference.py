"""Reference for measuring: features and statistics of the real images, computed once per dataset version."""

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
from genai_core.data.dataset.dataset import SPLITS, Split
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.inception_score import LEAST_SPLIT_IMAGES, inception_score
from genai_core.evaluation.figures.manifold import Manifold
from genai_core.evaluation.figures.memorisation import threshold
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.set_figures import Labels, RealSet, real_set, sample_set, values_against
from genai_core.evaluation.statistics import FeatureStats
from genai_core.image_size import ImageSize

FORMAT = 2
REFERENCE_FILE = "reference.json"


@dataclass(frozen=True)
class ReferenceDescription:
    """Contents of reference.json. `kind`, `extractor_sha256` and `dataset` identify the source of the features."""

    kind: str
    extractor_sha256: str
    dataset: str
    classes: tuple[str, ...]
    image_size: ImageSize
    channels: int
    counts: dict[str, int]  # images by split
    floor_images: int
    floor: dict[str, float]  # each figure of that many held-out images against the train split, by its short name
    near_copy_distance: float  # to the nearest training image; closer is a near copy
    near_identical_distance: float  # to the nearest other image, among as many as a model generates
    real_is: float | None  # inception score of the same held-out images; None without class logits
    real_is_std: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the contents of reference.json, without format and hashes."""
        return {**asdict(self), "image_size": self.image_size.to_json()}

    @property
    def floor_fd(self) -> float:
        """Fréchet distance of the held-out images to the train split."""
        return self.floor["fd"]


@dataclass(frozen=True)
class Reference:
    """The measured real images."""

    description: ReferenceDescription
    splits: dict[Split, RealSet]

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class; empty without labels. Figures need generated images in these proportions."""
        labels = self.splits["train"].labels
        if labels is None:
            return ()
        return tuple(np.bincount(labels, minlength=len(self.description.classes)).tolist())


@dataclass(frozen=True)
class RealImages:
    """Metadata of the images whose features were extracted."""

    dataset: str  # fingerprint
    classes: tuple[str, ...]
    image_size: ImageSize
    channels: int
    labels: dict[Split, Labels | None]


def build_reference(
    features: dict[Split, Features], images: RealImages, extractor: ExtractorDescription, config: EvaluationConfig
) -> Reference:
    """Compute the statistics of both splits, the floor, and how close real images are to each other.

    The floor is the figures of held-out real images against the train split. A Fréchet distance from few images is too
    large, so the floor uses at most as many images as a model is measured on. Raises ValueError when there are no more
    images than neighbours.
    """
    splits = {split: real_set(features[split].features, images.labels[split], config) for split in SPLITS}
    test, train = features["test"], features["train"].features
    count = min(len(test.features), config.total_images)
    # Chosen at random, because the manifest may be sorted by class.
    chosen = np.random.default_rng(config.seed).permutation(len(test.features))[:count]
    held_out = sample_set(test.features[chosen], None, config)
    score = None
    if extractor.scores_classes:
        # The score depends on the number of images per split: use as many as a split of generated images has.
        split_images = config.total_images / config.is_splits
        parts = max(1, min(round(count / split_images), count // LEAST_SPLIT_IMAGES))
        score = inception_score(test.logits[chosen], parts)
    to_train = nearest(test.features[splits["test"].pairwise], train).distances[:, 0]
    as_many = np.random.default_rng(config.seed).permutation(len(train))[
        : min(config.total_images, config.pairwise_images)
    ]
    among = nearest(train[as_many]).distances[:, 0]
    description = ReferenceDescription(
        kind=extractor.kind,
        extractor_sha256=extractor.sha256,
        dataset=images.dataset,
        classes=images.classes,
        image_size=images.image_size,
        channels=images.channels,
        counts={split: len(features[split].features) for split in SPLITS},
        floor_images=count,
        floor=values_against(held_out, splits["train"]),
        near_copy_distance=threshold(to_train, config.near_copy_percentile),
        near_identical_distance=threshold(among, config.near_copy_percentile),
        real_is=score.mean if score else None,
        real_is_std=score.std if score else None,
    )
    return Reference(description, splits)


def save_reference(folder: Path, reference: Reference) -> None:
    """Write one safetensors file per split and reference.json into `folder`."""
    sha256 = {}
    for split, part in reference.splits.items():
        path = folder / f"{split}.safetensors"
        arrays: dict[str, npt.NDArray[Any]] = {
            "features": part.features,
            "mean": part.stats.mean,
            "covariance": part.stats.covariance,
            "root": part.root,
            "pairwise": part.pairwise,
            "precision_radii": part.balls.precision_radii,
            "density_radii": part.balls.density_radii,
            "density_neighbours": np.array([part.balls.density_neighbours]),
            "similarity": np.array([part.similarity]),
        }
        if part.labels is not None:
            arrays["labels"] = part.labels
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
        sha256[split] = _sha256(path)
    values = {"format": FORMAT, **reference.description.to_json(), "sha256": sha256}
    (folder / REFERENCE_FILE).write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def load_reference(folder: Path) -> Reference:
    """Load the reference in `folder`. Raises FileNotFoundError or ValueError when it is missing or damaged."""
    description = read_reference(folder)
    try:
        return Reference(description, {split: _load_split(split_file(folder, split)) for split in SPLITS})
    except (KeyError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder}: damaged ({error}); delete it and run the stage reference again") from None


def read_reference(folder: Path) -> ReferenceDescription:
    """Read reference.json in `folder`. Raises FileNotFoundError or ValueError when it is missing or damaged."""
    values = _read_json(folder)
    try:
        size, classes = ImageSize.from_json(values["image_size"]), tuple(values["classes"])
        del values["format"], values["sha256"]
        return ReferenceDescription(**{**values, "image_size": size, "classes": classes})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: damaged ({error}); delete it and run the stage reference again") from None


def split_file(folder: Path, split: Split) -> Path:
    """Return the safetensors file of one split; its tensor "features" is (N, D) float32, in manifest order.

    Raises FileNotFoundError when it is missing, ValueError when it has another hash than in reference.json.
    """
    path = folder / f"{split}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; try `dvc checkout`, or run the stage reference again")
    if _sha256(path) != _read_json(folder)["sha256"].get(split):
        raise ValueError(f"the sha256 of {path.name} differs from the one in {REFERENCE_FILE}")
    return path


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / REFERENCE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no reference found; run `genai run reference`")
    try:
        values = json.loads(path.read_text())
        found, sha256 = values["format"], values["sha256"]
        if found != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {found!r}")
        if not isinstance(sha256, dict):
            raise ValueError("expected a sha256 for each split")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: damaged ({error}); delete it and run the stage reference again") from None
    return dict(values)


def _load_split(path: Path) -> RealSet:
    arrays = load_file(path)
    features, pairwise = arrays["features"], arrays["pairwise"]
    balls = Manifold(
        features[pairwise], arrays["precision_radii"], arrays["density_radii"], int(arrays["density_neighbours"][0])
    )
    stats = FeatureStats(len(features), arrays["mean"], arrays["covariance"])
    similarity = float(arrays["similarity"][0])
    return RealSet(features, arrays.get("labels"), stats, arrays["root"], pairwise, balls, similarity)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
