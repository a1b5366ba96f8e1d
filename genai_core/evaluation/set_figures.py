"""Figures of a set of images against one set of real images, from precomputed features."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.config import EvaluationConfig
from genai_core.config.stages import LEAST_EXTRAPOLATED
from genai_core.evaluation.figures.bootstrap import (
    NOT_NEGATIVE,
    SHARE,
    UNBOUNDED,
    Interval,
    centred_interval,
    resample_weights,
    resampled_means,
    share_interval,
)
from genai_core.evaluation.figures.fd_infinity import curve_ends, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_resamples import resampled_curves, resampled_distances
from genai_core.evaluation.figures.kernel import kernel_distance, mean_similarity
from genai_core.evaluation.figures.manifold import Manifold, manifold, overlap
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """A value with its confidence interval, and its value in each resample (R,).

    bounds: the range of such a figure; the interval is cut to it.
    """

    value: float
    interval: Interval | None = None
    replicates: Float64 | None = None
    bounds: Interval = UNBOUNDED


@dataclass(frozen=True)
class RealSet:
    """Real images: features (N, D) float32, labels (N,) or None, the fitted Gaussian and its covariance's root.

    pairwise: indices of the images used for figures over all pairs; balls and similarity are of these images.
    """

    features: npt.NDArray[np.float32]
    labels: Labels | None
    stats: FeatureStats
    root: Float64
    pairwise: npt.NDArray[np.int64]
    balls: Manifold
    similarity: float


@dataclass(frozen=True)
class SampleSet:
    """Images to measure, in random order: features (N, D) float32, labels (N,) or None, balls of the first images."""

    features: npt.NDArray[np.float32]
    labels: Labels | None
    balls: Manifold


def real_set(features: npt.NDArray[np.float32], labels: Labels | None, config: EvaluationConfig) -> RealSet:
    """Compute once what all models share. Raises ValueError when there are no more images than neighbours."""
    count = min(len(features), config.pairwise_images)
    # Chosen at random, because the images may be sorted by class.
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(features))[:count]).astype(np.int64)
    stats = feature_stats(features)
    balls = manifold(features[chosen], config.precision_neighbours, config.density_neighbours)
    similarity = mean_similarity(features[chosen])
    return RealSet(features, labels, stats, square_root(stats.covariance), chosen, balls, similarity)


def sample_set(features: npt.NDArray[np.float32], labels: Labels | None, config: EvaluationConfig) -> SampleSet:
    """Prepare images to measure; they must be in random order. Raises ValueError as real_set does."""
    first = features[: config.pairwise_images]
    return SampleSet(features, labels, manifold(first, config.precision_neighbours, config.density_neighbours))


class Resamples:
    """Resamples of a set of images, shared by every figure and every model measured with the same settings."""

    def __init__(self, images: int, labels: Labels | None, config: EvaluationConfig) -> None:
        self.config, self._labels = config, labels
        self.weights = resample_weights(images, config.bootstrap_resamples, config.seed, labels)
        self.pairwise = self.of_first(min(images, config.pairwise_images))

    def of_first(self, count: int) -> Float64:
        """Return weights (R, count) for resamples of the first `count` images only."""
        if count == self.weights.shape[1]:
            return self.weights
        strata = None if self._labels is None else self._labels[:count]
        return resample_weights(count, self.config.bootstrap_resamples, self.config.seed, strata)

    def figure(self, value: float, replicates: Float64, bounds: Interval = UNBOUNDED) -> Figure:
        """Return a figure with its interval about the replicates' mean, cut to `bounds`."""
        interval = centred_interval(value, replicates, self.config.confidence)
        return Figure(value, interval.within(bounds), replicates, bounds)

    def share(self, flags: npt.NDArray[np.bool_], weights: Float64, together: int = 1) -> Figure:
        """Return a share of images with Wilson's interval. together: number of images that each flag decision covers.

        Two for near-identical pairs, whose images are flagged together.
        """
        share = float(flags.mean())
        interval = share_interval(share, len(flags) // together, self.config.confidence)
        return Figure(share, interval, resampled_means(flags, weights), SHARE)


def values_against(sample: SampleSet, real: RealSet) -> dict[str, float]:
    """fd, kid, precision, recall, density and coverage of `sample` against `real`, without intervals."""
    near = overlap(sample.balls, real.balls)
    kernel = kernel_distance(sample.balls.features, real.balls.features, real.similarity)
    return {
        "fd": frechet_distance(real.stats, real.root, feature_stats(sample.features)),
        "kid": kernel.value,
        "precision": float(near.precise.mean()),
        "recall": float(near.recalled.mean()),
        "density": float(near.density.mean()),
        "coverage": float(near.covered.mean()),
    }


def figures_against(sample: SampleSet, real: RealSet, resamples: Resamples) -> dict[str, Figure]:
    """Figures of `sample` against `real` with intervals.

    For fd, kid, precision and density, the measured images are resampled. Recall and coverage are shares of real
    images, so for them the real images are resampled.
    """
    config = resamples.config
    near = overlap(sample.balls, real.balls)
    kernel = kernel_distance(sample.balls.features, real.balls.features, real.similarity)
    of_real = resample_weights(len(real.pairwise), config.bootstrap_resamples, config.seed)
    distance = frechet_distance(real.stats, real.root, feature_stats(sample.features))
    replicates = resampled_distances(sample.features, real.stats, real.root, resamples.weights)
    density = float(near.density.mean())
    density_bounds = Interval(0.0, len(real.pairwise) / config.density_neighbours)  # an image inside every real ball
    return {
        "fd": resamples.figure(distance, replicates, NOT_NEGATIVE),
        "kid": resamples.figure(kernel.value, resampled_means(kernel.influence, resamples.pairwise)),
        "precision": resamples.share(near.precise, resamples.pairwise),
        "recall": resamples.share(near.recalled, of_real),
        "density": resamples.figure(density, resampled_means(near.density, resamples.pairwise), density_bounds),
        "coverage": resamples.share(near.covered, of_real),
    }


def extrapolated(sample: SampleSet, real: RealSet, resamples: Resamples) -> Figure | None:
    """Distance at infinitely many images; the interval comes from repeating the whole fit in each resample.

    None for fewer than LEAST_EXTRAPOLATED images.
    """
    if len(sample.features) < LEAST_EXTRAPOLATED:
        return None
    ends = curve_ends(len(sample.features), resamples.config.fd_inf_points)
    value = frechet_curve(sample.features, ends, real.stats, real.root).at_infinity()
    curves = resampled_curves(sample.features, ends, real.stats, real.root, resamples.weights)
    if curves is None:
        # Too many features to solve each resample: use the spread of the distance, which is too small, if anything.
        distances = resampled_distances(sample.features, real.stats, real.root, resamples.weights)
        return resamples.figure(value, distances)
    # A resample may contain at most one image of the first points, and then has no line: it counts as an average one.
    fitted = np.array([curve.at_infinity() if len(np.unique(curve.counts)) > 1 else np.nan for curve in curves])
    return resamples.figure(value, np.where(np.isnan(fitted), np.nanmean(fitted), fitted))


def extrapolation_warning(images: int) -> str:
    """Say why `extrapolated` returned None."""
    return f"no distance at infinitely many images (fd_inf): {images} images are fewer than {LEAST_EXTRAPOLATED}"


def distance_by_class(sample: SampleSet, real: RealSet, resamples: Resamples, classes: int) -> dict[int, Figure]:
    """Distance of each class's images to the real ones of that class; skips classes with fewer than two images.

    Raises ValueError when one of the sets has no labels.
    """
    if sample.labels is None or real.labels is None:
        missing = "the measured images" if sample.labels is None else "the real images"
        raise ValueError(f"figures per class need labels in both sets; {missing} have none")
    found = {}
    for label in range(classes):
        own, others = np.flatnonzero(sample.labels == label), real.features[real.labels == label]
        if min(len(own), len(others)) < 2:
            continue
        stats = feature_stats(others)
        root, features = square_root(stats.covariance), sample.features[own]
        value = frechet_distance(stats, root, feature_stats(features))
        replicates = resampled_distances(features, stats, root, resamples.weights[:, own])
        found[label] = resamples.figure(value, replicates, NOT_NEGATIVE)
    return found


def coverage_by_class(sample: SampleSet, real: RealSet, resamples: Resamples, classes: int) -> dict[int, Figure]:
    """Share of each class's real images that are covered: 0 for a class that the model does not generate.

    Raises ValueError when the real images have no labels.
    """
    if real.labels is None:
        raise ValueError("figures per class need labels; the real images have none")
    covered, labels = overlap(sample.balls, real.balls).covered, real.labels[real.pairwise]
    confidence = resamples.config.confidence
    found = {}
    for label in range(classes):
        own = covered[labels == label]
        if len(own):
            share = float(own.mean())
            found[label] = Figure(share, share_interval(share, len(own), confidence), bounds=SHARE)
    return found
