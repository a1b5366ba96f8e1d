"""Uncertainty of a figure due to the sampling of images: resamples, intervals, differences.

Images are sampled with replacement (Efron 1979). If the expectation of a figure depends on the number of distinct
images, as with the Fréchet distance, every resample is shifted by about the same amount. The resamples are therefore
used relative to their own mean: the interval says where the figure would lie on average for other sets of as many
images.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.statistics import Float64


@dataclass(frozen=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float

    def within(self, bounds: "Interval") -> "Interval":
        """Cut the interval at `bounds`: a symmetric resampling does not know the range of a figure."""
        low, high = (min(max(end, bounds.low), bounds.high) for end in (self.low, self.high))
        return Interval(low, high)


# Range of a figure.
UNBOUNDED = Interval(-math.inf, math.inf)
NOT_NEGATIVE = Interval(0.0, math.inf)
SHARE = Interval(0.0, 1.0)


@dataclass(frozen=True)
class Difference:
    """First minus second figure, with its interval; `beyond_noise` when 0 lies outside it."""

    value: float
    interval: Interval

    @property
    def beyond_noise(self) -> bool:
        """Whether the two figures differ by more than the sampling noise."""
        return not self.interval.low <= 0 <= self.interval.high


def resample_weights(total: int, resamples: int, seed: int, strata: npt.NDArray[np.int64] | None = None) -> Float64:
    """Return how often each of `total` images is in each resample: (resamples, total), rows summing to `total`.

    strata: (total,) labels whose shares are fixed by design; images are resampled within each label. The same arguments
    give the same weights, so two models measured alike are resampled in pairs.
    """
    generator = np.random.default_rng(seed)
    groups = np.zeros(total, dtype=np.int64) if strata is None else strata
    weights = np.empty((resamples, total))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        weights[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return weights


def resampled_means(values: npt.NDArray[np.floating] | npt.NDArray[np.bool_], weights: Float64) -> Float64:
    """Mean of values (N,) in each resample, weights (R, N): (R,)."""
    means: Float64 = weights @ values.astype(np.float64) / weights.sum(axis=1)
    return means


def centred_interval(value: float, replicates: Float64, confidence: float) -> Interval:
    """Basic bootstrap interval (Davison and Hinkley 1997, section 5.2) about the replicates' own mean.

    replicates: (R,), the figure in each resample. Raises ValueError when there are fewer than two.
    """
    if len(replicates) < 2:
        raise ValueError(f"expected at least two resamples, got {len(replicates)}")
    centred = replicates - replicates.mean()
    low, high = np.quantile(centred, [(1 + confidence) / 2, (1 - confidence) / 2])
    return Interval(float(value - low), float(value - high))


def share_interval(share: float, total: int, confidence: float) -> Interval:
    """Wilson's interval (1927) for a share of `total` images; its width is not 0 even for a share of 0 or 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Rounding would give 1e-18 where the formula gives 0.
    low = 0.0 if share == 0 else float(middle - half)
    return Interval(low, 1.0 if share == 1 else float(middle + half))


def paired_difference(
    first: float,
    second: float,
    first_replicates: Float64,
    second_replicates: Float64,
    confidence: float,
    bounds: Interval = UNBOUNDED,
) -> Difference:
    """Difference of one figure of two models, from paired resamples: resample r of both uses the same seeds.

    What both share, such as the latents of the same seeds, cancels. bounds: range of the figure; the difference is cut
    to the range that follows from it. Raises ValueError when the numbers of resamples differ.
    """
    if first_replicates.shape != second_replicates.shape:
        raise ValueError(
            f"expected as many resamples from both, got {len(first_replicates)} and {len(second_replicates)}"
        )
    value = first - second
    interval = centred_interval(value, first_replicates - second_replicates, confidence)
    return Difference(value, interval.within(Interval(bounds.low - bounds.high, bounds.high - bounds.low)))
