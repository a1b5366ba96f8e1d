"""Measure any set of images against any other, without a dataset or model of this project."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.config import EvaluationConfig
from genai_core.evaluation.class_scores import class_scores
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.memorisation import threshold, within
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.image_source import ImageBatch
from genai_core.evaluation.protocol import library_versions
from genai_core.evaluation.resizing import ImageForm, form_protocol
from genai_core.evaluation.set_figures import (
    Figure,
    Labels,
    RealSet,
    Resamples,
    coverage_by_class,
    distance_by_class,
    extrapolated,
    extrapolation_warning,
    figures_against,
    real_set,
    sample_set,
)


@dataclass(frozen=True)
class MeasuredSet:
    """Features of a set in random order, the shape of its images (C, H, W), and each image's class or None."""

    features: Features
    shape: tuple[int, ...]
    labels: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.features.features)

    def first(self, count: int | None) -> "MeasuredSet":
        """Return the first `count` images, a random subset; None: all. Raises ValueError when there are fewer."""
        if count is None:
            return self
        if not 2 <= count <= len(self):
            raise ValueError(f"expected 2 to {len(self)} images, got {count}")
        part = Features(self.features.features[:count], self.features.logits[:count])
        return MeasuredSet(part, self.shape, self.labels[:count])


@dataclass(frozen=True)
class Score:
    """Figures by name and by class, warnings for the reader, and the protocol."""

    figures: dict[str, Figure]
    by_class: dict[str, dict[str, Figure]]
    warnings: tuple[str, ...]
    protocol: dict[str, Any]


def measure_set(extractor: FeatureNetwork, batches: Iterable[ImageBatch], batch_images: int, seed: int) -> MeasuredSet:
    """Extract features in one pass, with one batch in memory at a time, and shuffle them by `seed`.

    Raises ValueError for fewer than two images, or images that the extractor does not accept.
    """
    parts: list[Features] = []
    labels: list[str | None] = []
    shape: tuple[int, ...] = ()
    for batch in batches:
        parts.append(extract_features(extractor, batch.images, batch_images))
        labels += batch.labels
        shape = (max([*shape[:1], batch.images.shape[1]]), *batch.images.shape[2:])
    if len(labels) < 2:
        raise ValueError(f"expected at least two images to measure, got {len(labels)}")
    features = np.concatenate([part.features for part in parts])
    logits = np.concatenate([part.logits for part in parts])
    order = np.random.default_rng(seed).permutation(len(labels))
    return MeasuredSet(Features(features[order], logits[order]), shape, tuple(labels[i] for i in order))


def score_sets(
    images: MeasuredSet,
    real: MeasuredSet,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
    forms: Sequence[ImageForm] = (),
) -> Score:
    """Compute the figures of `images` against `real`, with intervals, and per class if both have labels.

    forms: which both sets were brought into; they are part of the protocol. near_copies here is the share of images
    closer to a real one than real ones usually are to each other. Raises ValueError when the images differ in size, or
    a set has no more images than the figures' neighbours.
    """
    if images.shape[1:] != real.shape[1:]:
        sizes = " against ".join(f"{height} x {width}" for _, height, width in (images.shape, real.shape))
        raise ValueError(
            f"images of {sizes} (height x width): pass --resize clean to resize both by one rule, and --size if you "
            "want another size than the extractor's; otherwise the figures would measure the resizing"
        )
    neighbours = max(config.precision_neighbours, config.density_neighbours)
    for what, count in (("images", len(images)), ("real images", len(real))):
        if count <= neighbours:
            raise ValueError(
                f"expected more than {neighbours} {what} (the neighbours of precision and density), got {count}"
            )
    classes = sorted({name for name in (*images.labels, *real.labels) if name is not None})
    own, others = _indices(images.labels, classes), _indices(real.labels, classes)
    sample, against = (
        sample_set(images.features.features, None, config),
        real_set(real.features.features, others, config),
    )
    resamples = Resamples(len(images), None, config)
    kind = extractor.kind
    figures = {f"{name}_{kind}": figure for name, figure in figures_against(sample, against, resamples).items()}
    at_infinity = extrapolated(sample, against, resamples)
    if at_infinity is not None:
        figures[f"fd_inf_{kind}"] = at_infinity
    copies = within(images.features.features, real.features.features, _near_copy_distance(against, config))
    figures[f"near_copies_{kind}"] = resamples.share(copies.copied, resamples.weights)
    score_warnings: tuple[str, ...] = ()
    if extractor.scores_classes:
        scores = class_scores(images.features.logits, kind, resamples)
        figures |= scores.figures
        score_warnings = scores.warnings
    by_class = {}
    if own is not None and others is not None:
        labelled = replace(sample, labels=own)
        for name, measure in (("fd", distance_by_class), ("coverage", coverage_by_class)):
            found = measure(labelled, against, Resamples(len(images), own, config), len(classes))
            by_class[f"{name}_{kind}_class"] = {classes[label]: figure for label, figure in found.items()}
    too_few = tuple(
        f"{count} {what} for {extractor.feature_dim} features: the Fréchet distance is far too large (its bias "
        "falls with the number of images), and comparable only to one from equally many images"
        for what, count in (("images", len(images)), ("real images", len(real)))
        if count <= extractor.feature_dim
    )
    if at_infinity is None:
        score_warnings = (extrapolation_warning(len(images)), *score_warnings)
    return Score(figures, by_class, (*too_few, *score_warnings), _protocol(images, real, extractor, config, forms))


def _near_copy_distance(real: RealSet, config: EvaluationConfig) -> float:
    """Distance below which real images are unusually close, from a random subset to the nearest of all others.

    All others, because near copies are searched among all images: nearest neighbours get closer with more images.
    """
    # The nearest neighbour is the image itself, so take the second.
    others = nearest(real.features[real.pairwise], real.features, k=2).distances[:, 1]
    return threshold(others, config.near_copy_percentile)


def _indices(labels: tuple[str | None, ...], classes: list[str]) -> Labels | None:
    """Return indices (N,) into classes, or None unless every image has a class."""
    if not classes or None in labels:
        return None
    index = {name: i for i, name in enumerate(classes)}
    found: npt.NDArray[np.int64] = np.array([index[str(name)] for name in labels], dtype=np.int64)
    return found


def _protocol(
    images: MeasuredSet,
    real: MeasuredSet,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
    forms: Sequence[ImageForm],
) -> dict[str, Any]:
    return {
        "extractor": extractor.kind,
        "extractor_sha256": extractor.sha256,
        "extractor_source_sha256": extractor.source_sha256,
        "extractor_test_accuracy": extractor.test_accuracy,
        "precision": extractor.precision,
        "resize": extractor.resize,
        "feature_dim": extractor.feature_dim,
        "image_shape": [max(images.shape[0], real.shape[0]), *images.shape[1:]],
        **form_protocol(forms),
        "generated_images": len(images),
        "reference_images": len(real),
        **config.model_dump(mode="json", exclude={"total_images", "batch_images"}),
        "libraries": library_versions(),
    }
