"""The figures of a set of generated images, all from one pass over the features."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.config import EvaluationConfig
from genai_core.evaluation.extractor import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import inception_score, label_agreement
from genai_core.evaluation.protocol import Protocol
from genai_core.evaluation.reference import Reference
from genai_core.evaluation.statistics import feature_stats

SIGNIFICANT_DIGITS = 6
MARGIN_OVER_CHANCE = 0.1


@dataclass(frozen=True)
class Evaluation:
    """figures: by their name in the metrics file. warnings: what a reader of the figures must know."""

    figures: dict[str, float]
    protocol: Protocol
    warnings: tuple[str, ...]


def evaluate_features(
    features: Features,
    labels: npt.NDArray[np.int64] | None,
    reference: Reference,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
) -> Evaluation:
    """Figures of generated images from their features and the labels (N,) that they were asked for (None: no labels).

    fd_K              Frechet distance to the train split, K being the extractor's kind
    fd_K_test         to the test split, which the model has never seen
    floor_fd_K        of real test images to the train split
    fd_K_over_floor   distance over floor, both from as many images: 1 is as close as real images are
    is_K, is_K_std    inception score over the splits; is_K_real that of real test images
    label_agreement   share of images that the classifier gives the label that they were asked for

    The last two lines only where the extractor is a classifier. Raises ValueError when another extractor made the
    reference.
    """
    real = reference.description
    if real.extractor_sha256 != extractor.sha256:
        raise ValueError(
            f"the extractor {real.extractor_sha256[:12]} made the reference, this one is {extractor.sha256[:12]}; "
            "run the stage reference again"
        )
    train, test = reference.splits["train"], reference.splits["test"]
    stats = feature_stats(features.features)
    as_many = feature_stats(features.features[: real.floor_images])
    fd, score = f"fd_{extractor.kind}", f"is_{extractor.kind}"
    figures = {
        fd: frechet_distance(train.stats, train.root, stats),
        f"{fd}_test": frechet_distance(test.stats, test.root, stats),
        f"floor_{fd}": real.floor_fd,
    }
    if real.floor_fd > 0:
        figures[f"{fd}_over_floor"] = frechet_distance(train.stats, train.root, as_many) / real.floor_fd
    if extractor.kind == "classifier" and real.real_is is not None:
        inception = inception_score(features.logits, config.is_splits)
        figures |= {score: inception.mean, f"{score}_std": inception.std, f"{score}_real": real.real_is}
        if labels is not None:
            figures["label_agreement"] = label_agreement(features.logits, labels)
    protocol = Protocol(
        extractor=extractor.kind,
        extractor_sha256=extractor.sha256,
        extractor_test_accuracy=extractor.test_accuracy,
        feature_dim=extractor.feature_dim,
        image_size=extractor.image_size,
        channels=extractor.channels,
        dataset=real.dataset,
        reference_split="train",
        reference_images=train.stats.count,
        test_images=test.stats.count,
        floor_images=real.floor_images,
        generated_images=stats.count,
        seed=config.seed,
        is_splits=config.is_splits,
    )
    rounded = {name: float(f"{value:.{SIGNIFICANT_DIGITS}g}") for name, value in figures.items()}
    return Evaluation(rounded, protocol, tuple(_warnings(protocol, chance=1 / extractor.outputs)))


def _warnings(protocol: Protocol, chance: float) -> list[str]:
    warnings = []
    for what, count in (
        ("generated images", protocol.generated_images),
        ("training images", protocol.reference_images),
        ("held-out images", protocol.floor_images),
    ):
        if count <= protocol.feature_dim:
            warnings.append(
                f"{count} {what} for {protocol.feature_dim} features: the Frechet distance is far too large, "
                "and comparable only with one of as many images"
            )
    if protocol.extractor_test_accuracy < chance + MARGIN_OVER_CHANCE:
        warnings.append(
            f"the extractor's test accuracy is {protocol.extractor_test_accuracy:.3f}, little better than chance: "
            "its figures say little"
        )
    return warnings
