"""Two models measured alike, and whether they differ by more than the chance of which images were drawn and kept."""

from dataclasses import dataclass

import numpy as np

from genai_core.config import EvaluationConfig
from genai_core.data.dataset.dataset import Split
from genai_core.evaluation.against import Labels, Resamples, SampleSet, sample_set
from genai_core.evaluation.evaluate import Evaluation, evaluate_features
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.bootstrap import Difference, paired_difference, resample_weights
from genai_core.evaluation.figures.frechet_pairs import paired_distances
from genai_core.evaluation.figures.manifold import overlap
from genai_core.evaluation.reference import Reference

# Real images are drawn from a stream of their own: as many as generated ones, they would get the same weights.
REAL_SEED_OFFSET = 1
PAIRED = ("kid", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Verdict:
    """winner: "a", "b", or None where the difference in `metric`, a distance, is inside the noise."""

    metric: str
    winner: str | None
    text: str


@dataclass(frozen=True)
class Comparison:
    """Both models, the difference second less first of each figure, and what follows of it."""

    first: Evaluation
    second: Evaluation
    differences: dict[str, Difference]
    verdict: Verdict


def compare_features(
    first: Features,
    second: Features,
    labels: Labels | None,
    reference: Reference,
    extractor: ExtractorDescription,
    config: EvaluationConfig,
    against: Split = "test",
) -> Comparison:
    """Compare images that two models drew from the same seeds and labels (N,), from their features.

    Each resample takes the same seeds of both models (labels kept in their shares) and, for the distances, the same
    real images. The verdict is on the distance from the split `against`. Raises ValueError as evaluate_features does,
    and when the sets differ in size.
    """
    if len(first.features) != len(second.features):
        raise ValueError(f"expected as many images of both, got {len(first.features)} and {len(second.features)}")
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
    """The distance from a split in the features of an extractor's kind."""
    return f"fd_{kind}{'_test' if against == 'test' else ''}"


def judge(metric: str, difference: Difference, confidence: float) -> Verdict:
    """Name the model with the smaller distance, unless the interval of the difference has 0 in it."""
    interval = difference.interval
    span = f"B - A is {difference.value:+.4g}, between {interval.low:+.4g} and {interval.high:+.4g} at {confidence:.0%}"
    if not difference.beyond_noise:
        return Verdict(metric, None, f"no winner: {metric}, {span}, which has 0 in it: inside the noise")
    winner = "b" if difference.value < 0 else "a"
    return Verdict(metric, winner, f"{winner.upper()} is better: {metric}, {span}: more than noise")


def recall_of_as_many(
    features: Features, labels: Labels | None, reference: Reference, config: EvaluationConfig
) -> float:
    """Recall of the train split by as many images as the floor's is of: it depends on their number."""
    count = reference.description.floor_images
    few: SampleSet = sample_set(features.features[:count], None if labels is None else labels[:count], config)
    return float(np.mean(overlap(few.balls, reference.splits["train"].balls).recalled))


def _difference(name: str, a: Evaluation, b: Evaluation, config: EvaluationConfig) -> Difference:
    """From the resamples that both were measured with: row r of both takes the same seeds, or the same real images."""
    one, other = a.figures[name], b.figures[name]
    assert one.replicates is not None
    assert other.replicates is not None
    return paired_difference(other.value, one.value, other.replicates, one.replicates, config.confidence, one.bounds)
