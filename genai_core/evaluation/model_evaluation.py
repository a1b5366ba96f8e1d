"""All figures of a set of generated images, from one pass over their features."""

from dataclasses import dataclass

import numpy as np

from genai_core.config import EvaluationConfig
from genai_core.evaluation.class_scores import class_scores
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.bootstrap import NOT_NEGATIVE
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_resamples import resampled_distances
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.figures.memorisation import NearCopies, within
from genai_core.evaluation.protocol import Protocol, library_versions
from genai_core.evaluation.reference import Reference
from genai_core.evaluation.set_figures import (
    Figure,
    Labels,
    Resamples,
    SampleSet,
    coverage_by_class,
    distance_by_class,
    extrapolated,
    extrapolation_warning,
    figures_against,
    sample_set,
)
from genai_core.evaluation.statistics import feature_stats

MARGIN_OVER_CHANCE = 0.1
# Warn when the share of near copies is this many times as large as among new real images. A percentile of few held-out
# images is uncertain: with 300 images, the 1% threshold lets 4.3% of new images through in one case of 1,000 (the
# quantile of Beta(4, 297)), so a factor of 3 would warn about good models. Simulated in tests.
COPY_WARNING_FACTOR = 5


@dataclass(frozen=True)
class Evaluation:
    """figures: by name in the metrics file. by_class: figure -> class -> figure. copies: of training images.

    warnings: messages for the reader of the figures.
    """

    figures: dict[str, Figure]
    by_class: dict[str, dict[str, Figure]]
    copies: NearCopies
    protocol: Protocol
    warnings: tuple[str, ...]


def evaluate_features(
    features: Features,
    labels: Labels | None,
    reference: Reference,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
) -> Evaluation:
    """Compute the figures of generated images from their features and requested labels (N,), None if unlabelled.

    With K the extractor's kind and X one of fd, kid, precision, recall, density, coverage:

    X_K, X_K_test     against the train split, and against the test split, which the model has never seen
    floor_X_K         of real test images against the train split
    fd_K_over_floor   distance divided by the floor, both from equally many images: 1 means as close as real images
    fd_inf_K          distance to the train split, extrapolated to infinitely many images; from 50 images on
    near_copies_K     share of images closer to a training image than held-out real ones usually are
    near_identical_K  share of images closer to another one than real ones usually are to each other
    is_K, is_K_std    inception score over the splits; is_K_real: of real test images (class logits only)
    label_agreement   share of images that the classifier assigns to their requested label

    The images must be in random order, or their labels spread evenly. The labels must have the proportions of the
    training images (`proportional_labels`), which the train split, the test split and the floor have, too. Raises
    ValueError when another extractor made the reference.
    """
    real = reference.description
    if real.extractor_sha256 != extractor.sha256:
        raise ValueError(
            f"the extractor {real.extractor_sha256[:12]} made the reference, this one is {extractor.sha256[:12]}; "
            "run the stage reference again"
        )
    kind, train, test = extractor.kind, reference.splits["train"], reference.splits["test"]
    sample = sample_set(features.features, labels, config)
    resamples = Resamples(len(sample.features), labels, config)
    figures: dict[str, Figure] = {}
    for suffix, split in (("", train), ("_test", test)):
        figures |= {f"{x}_{kind}{suffix}": figure for x, figure in figures_against(sample, split, resamples).items()}
    figures |= {f"floor_{x}_{kind}": Figure(value) for x, value in real.floor.items()}
    if real.floor_fd > 0:
        figures[f"fd_{kind}_over_floor"] = _over_floor(sample, reference, labels, config)
    at_infinity = extrapolated(sample, train, resamples)
    if at_infinity is not None:
        figures[f"fd_inf_{kind}"] = at_infinity
    copies = within(features.features, train.features, real.near_copy_distance)
    # As many images as the threshold was computed from (reference.py): nearest neighbours get closer with more images.
    as_many = min(len(sample.balls.features), real.counts["train"])
    same = within(sample.balls.features[:as_many], None, real.near_identical_distance)
    figures[f"near_copies_{kind}"] = resamples.share(copies.copied, resamples.weights)
    figures[f"near_identical_{kind}"] = resamples.share(same.copied, resamples.of_first(as_many), together=2)
    score_warnings: tuple[str, ...] = ()
    if extractor.scores_classes and real.real_is is not None:
        scores = class_scores(features.logits, kind, resamples)
        figures |= {**scores.figures, f"is_{kind}_real": Figure(real.real_is)}
        score_warnings = scores.warnings
    if kind == "classifier" and labels is not None:
        figures["label_agreement"] = resamples.share(label_agreement(features.logits, labels), resamples.weights)
    by_class = {}
    if labels is not None and train.labels is not None:
        names = real.classes
        for x, measure in (("fd", distance_by_class), ("coverage", coverage_by_class)):
            found = measure(sample, train, resamples, len(names))
            by_class[f"{x}_{kind}_class"] = {names[label]: figure for label, figure in found.items()}
    protocol = _protocol(reference, extractor, sample, config)
    few = () if at_infinity is not None else (extrapolation_warning(len(sample.features)),)
    warnings = (*score_warnings, *_warnings(protocol, extractor, figures, config), *few)
    return Evaluation(figures, by_class, copies, protocol, warnings)


def _over_floor(sample: SampleSet, reference: Reference, labels: Labels | None, config: EvaluationConfig) -> Figure:
    count, train = reference.description.floor_images, reference.splits["train"]
    features = sample.features[:count]
    resamples = Resamples(len(features), None if labels is None else labels[:count], config)
    value = frechet_distance(train.stats, train.root, feature_stats(features))
    replicates = resampled_distances(features, train.stats, train.root, resamples.weights)
    floor = reference.description.floor_fd
    return resamples.figure(value / floor, replicates / floor, NOT_NEGATIVE)


def _protocol(
    reference: Reference, extractor: ExtractorDescription, sample: SampleSet, config: EvaluationConfig
) -> Protocol:
    real = reference.description
    requested = () if sample.labels is None else np.bincount(sample.labels, minlength=len(real.classes)).tolist()
    return Protocol(
        extractor=extractor.kind,
        extractor_sha256=extractor.sha256,
        extractor_source_sha256=extractor.source_sha256,
        extractor_test_accuracy=extractor.test_accuracy,
        precision=extractor.precision,
        resize=extractor.resize,
        feature_dim=extractor.feature_dim,
        image_size=real.image_size,
        channels=real.channels,
        dataset=real.dataset,
        reference_split="train",
        reference_images=real.counts["train"],
        test_images=real.counts["test"],
        floor_images=real.floor_images,
        generated_images=len(sample.features),
        requested_labels=tuple(requested),
        seed=config.seed,
        is_splits=config.is_splits,
        precision_neighbours=config.precision_neighbours,
        density_neighbours=config.density_neighbours,
        pairwise_images=config.pairwise_images,
        fd_inf_points=config.fd_inf_points,
        near_copy_percentile=config.near_copy_percentile,
        near_copy_distance=real.near_copy_distance,
        near_identical_distance=real.near_identical_distance,
        bootstrap_resamples=config.bootstrap_resamples,
        confidence=config.confidence,
        libraries=library_versions(),
    )


def _warnings(
    protocol: Protocol, extractor: ExtractorDescription, figures: dict[str, Figure], config: EvaluationConfig
) -> list[str]:
    warnings = []
    for what, count in (
        ("generated images", protocol.generated_images),
        ("training images", protocol.reference_images),
        ("held-out images", protocol.floor_images),
    ):
        if count <= protocol.feature_dim:
            warnings.append(
                f"{count} {what} for {protocol.feature_dim} features: the Fréchet distance is far too large, and "
                "comparable only to one from equally many images"
            )
    accuracy = extractor.test_accuracy
    if accuracy is not None and accuracy < 1 / extractor.outputs + MARGIN_OVER_CHANCE:
        warnings.append(
            f"the extractor's test accuracy is {accuracy:.3f}, little better than chance: its figures mean little"
        )
    expected = config.near_copy_percentile / 100
    for name, what in (("near_copies", "a training image"), ("near_identical", "another generated one")):
        figure = figures[f"{name}_{extractor.kind}"]
        if figure.interval is not None and figure.interval.low > COPY_WARNING_FACTOR * expected:
            warnings.append(
                f"{figure.value:.1%} of the images are closer to {what} than {expected:.1%} of real images are: "
                + ("copies of training images" if name == "near_copies" else "the same few images repeated")
            )
    return warnings
