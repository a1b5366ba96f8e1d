"""Compare two models measured alike: is their difference larger than the noise of generated and real images?"""

from dataclasses import dataclass

import numpy as np

from genai_core.config import EvaluationConfig
from genai_core.data.dataset.dataset import Split
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.bootstrap import Difference, paired_difference, resample_weights
from genai_core.evaluation.figures.frechet_pairs import paired_distances
from genai_core.evaluation.figures.manifold import overlap
from genai_core.evaluation.model_evaluation import Evaluation, evaluate_features
from genai_core.evaluation.reference import Reference
from genai_core.evaluation.set_figures import Labels, Resamples, SampleSet, sample_set

# Real images have their own random stream. Otherwise, equally many real and generated images would get equal weights.
REAL_SEED_OFFSET = 1
PAIRED = ("kid", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class ComparisonVerdict:
    """winner: "a", "b", or None when the difference in `metric`, a distance, is within the noise."""

    metric: str
    winner: str | None
    text: str


@dataclass(frozen=True)
class Comparison:
    """Both models, the difference of each figure (second minus first), and the verdict."""

    first: Evaluation
    second: Evaluation
    differences: dict[str, Difference]
    verdict: ComparisonVerdict


def compare_features(
    first: Features,
    second: Features,
    labels: Labels | None,
    reference: Reference,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
    against: Split = "test",
) -> Comparison:
    """Compare images that two models generated from the same seeds and labels (N,), from their features.

    Each resample uses the same seeds for both models (stratified by label) and, for the distances, the same real
    images. The verdict is about the distance to the split `against`. Raises ValueError as evaluate_features does, and
    when the sets differ in size.
    """
    if len(first.features) != len(second.features):
        counts = f"{len(first.features)} and {len(second.features)}"
        raise ValueError(f"expected equally many images from both models, got {counts}")
    a, b = (evaluate_features(found, labels, reference, extractor, config) for found in (first, second))
    weights = Resamples(len(first.features), labels, config).weights
    kind, differences = extractor.kind, {}
    for suffix, split in (("", reference.splits["train"]), ("_test", reference.splits["test"])):
        of_real = resample_weights(len(split.features), config.bootstrap_resamples, config.seed + REAL_SEED_OFFSET)
        found = paired_distances(first.features, second.features, split.features, weights, of_real)
        name = f"fd_{kind}{suffix}"
        differences[name] = paired_difference(
            b.figures[name].value, a.figures[name].value, found.second, found.first, config.confidence
        )
        for x in PAIRED:
            differences[f"{x}_{kind}{suffix}"] = _difference(f"{x}_{kind}{suffix}", a, b, config)
    for name in (f"fd_inf_{kind}", f"near_copies_{kind}", f"near_identical_{kind}", f"is_{kind}", "label_agreement"):
        if name in a.figures:
            differences[name] = _difference(name, a, b, config)
    metric = distance_name(kind, against)
    return Comparison(a, b, differences, judge(metric, differences[metric], config.confidence))


def distance_name(kind: str, against: Split) -> str:
    """Return the name of the distance to a split, for an extractor's kind."""
    return f"fd_{kind}{'_test' if against == 'test' else ''}"


def judge(metric: str, difference: Difference, confidence: float) -> ComparisonVerdict:
    """Name the model with the smaller distance, unless the interval of the difference contains 0."""
    interval = difference.interval
    span = f"B - A is {difference.value:+.4g}, {confidence:.0%} interval {interval.low:+.4g} to {interval.high:+.4g}"
    if not difference.beyond_noise:
        return ComparisonVerdict(metric, None, f"no winner: {metric}: {span}, within the noise")
    winner = "b" if difference.value < 0 else "a"
    return ComparisonVerdict(metric, winner, f"{winner.upper()} is better: {metric}: {span}, more than noise")


def recall_at_floor_size(
    features: Features, labels: Labels | None, reference: Reference, config: EvaluationConfig
) -> float:
    """Recall of the train split from as many images as the floor uses: recall depends on the number of images."""
    count = reference.description.floor_images
    few: SampleSet = sample_set(features.features[:count], None if labels is None else labels[:count], config)
    return float(np.mean(overlap(few.balls, reference.splits["train"].balls).recalled))


def _difference(name: str, a: Evaluation, b: Evaluation, config: EvaluationConfig) -> Difference:
    """Difference from paired resamples: row r of both uses the same seeds, or the same real images."""
    one, other = a.figures[name], b.figures[name]
    assert one.replicates is not None
    assert other.replicates is not None
    return paired_difference(other.value, one.value, other.replicates, one.replicates, config.confidence, one.bounds)
