"""Nearest training images of a picture, and whether it is a copy by the rule of the published figure.

Features, threshold and rule are those of `near_copies_K` (docs/evaluation.md): the features come from the reference,
which the pipeline computed once per extractor and dataset, so a question only costs one image's features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from genai_core.data.dataset.dataset import Dataset
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.memorisation import within
from genai_core.evaluation.figures.neighbours import Neighbours, nearest
from genai_core.evaluation.reference import ReferenceDescription, read_reference, split_file

CHUNK_VALUES = 1_000_000  # float32 values in memory at a time: they stay in the processor's cache
SPARE = 32  # candidates beyond the wanted ones, whose order float32 may confuse

Pixels = npt.NDArray[np.uint8]
FloatFeatures = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearImage:
    """A training image near a picture.

    pixels: (C, H, W). distance: Euclidean, in the extractor's features; 0 for equal pixels. copied: whether the
    picture is a near copy of this image. identical: whether all pixels are equal. label: name of its class, if it has
    one. source: its file, relative to the raw data.
    """

    pixels: Pixels
    distance: float
    copied: bool
    identical: bool
    label: str | None
    source: str


@dataclass(frozen=True)
class NearestImages:
    """Training images near a picture, nearest first. threshold: the largest distance of a near copy."""

    images: tuple[NearImage, ...]
    threshold: float
    training_images: int

    @property
    def copied(self) -> bool:
        """Whether the picture is a near copy of a training image."""
        return self.images[0].copied


class TrainingImages:
    """The training images of a dataset with their features, both read from disk on demand: memory stays bounded."""

    def __init__(
        self, dataset: Dataset, reference: Path, extractor: FeatureNetwork, description: ExtractorDescription
    ) -> None:
        """Open the features in the folder `reference`.

        Raises FileNotFoundError or ValueError, with what to do, when it is damaged, or another extractor or dataset
        made it.
        """
        self._reference = read_reference(reference)
        _check_made_from(self._reference, dataset, description)
        self._dataset, self._rows, self._extractor = dataset, dataset.rows("train"), extractor
        opened: Any = safe_open(split_file(reference, "train"), "numpy")  # its methods have no types
        self._features = opened.get_slice("features")

    def near(self, image: Pixels, count: int) -> NearestImages:
        """Find the `count` training images nearest to an image (C, H, W) uint8; all of them if there are fewer.

        Raises ValueError when the extractor does not accept the image, or count is below 1.
        """
        if count < 1:
            raise ValueError(f"expected a count of at least 1, got {count}")
        query = extract_features(self._extractor, image[None], 1).features
        found = self._nearest(query, min(count, len(self._rows)))
        rows, limit = self._rows.iloc[found.index[0]], self._reference.near_copy_distance
        originals, classes = self._dataset.images_at(rows), self._dataset.info.classes
        images = []
        for index, (distance, pixels) in enumerate(zip(found.distances[0], originals, strict=True)):
            # The features of equal pixels differ in the last digits, by the batch they were computed in.
            identical, row = bool(np.array_equal(pixels, image)), rows.iloc[index]
            point = self._at(int(found.index[0, index]))
            images.append(
                NearImage(
                    pixels=pixels,
                    distance=0.0 if identical else float(distance),
                    copied=identical or bool(within(query, point, limit).copied[0]),
                    identical=identical,
                    label=classes[row["label"]] if classes else None,
                    source=str(row["source"]),
                )
            )
        return NearestImages(tuple(images), limit, len(self._rows))

    def _nearest(self, query: FloatFeatures, count: int) -> Neighbours:
        """Return the `count` nearest rows of one query (1, D); of equal distances the lower index comes first.

        A pass in float32 finds a few more than are wanted, and the exact search of the figures orders these: in float64
        alone, 60,000 images with 2,048 features take almost two seconds.
        """
        total, dim = self._features.get_shape()
        step, wanted, target = max(1, CHUNK_VALUES // dim), min(count + SPARE, total), torch.from_numpy(query)
        squared, index = torch.empty(0), torch.empty(0, dtype=torch.int64)
        for begin in range(0, total, step):
            part = torch.from_numpy(self._features[begin : min(begin + step, total)])
            squared = torch.cat([squared, (part - target).square_().sum(dim=1)])
            index = torch.cat([index, torch.arange(begin, begin + len(part))])
            kept = squared.argsort(stable=True)[:wanted]
            squared, index = squared[kept], index[kept]
        candidates = index.sort().values.numpy()
        points = np.concatenate([self._at(int(row)) for row in candidates])
        found = nearest(query, points, count)
        return Neighbours(found.distances, candidates[found.index])

    def _at(self, index: int) -> FloatFeatures:
        point: FloatFeatures = self._features[index : index + 1]
        return point


def _check_made_from(reference: ReferenceDescription, dataset: Dataset, extractor: ExtractorDescription) -> None:
    for what, found, expected in (
        ("extractor", reference.extractor_sha256, extractor.sha256),
        ("dataset", reference.dataset, dataset.info.fingerprint),
    ):
        if found != expected:
            raise ValueError(
                f"the {what} {found[:12]} made the reference, this one is {expected[:12]}; "
                "run the stage reference again"
            )
