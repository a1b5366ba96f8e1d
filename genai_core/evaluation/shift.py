"""Distance between new and old images, relative to the distance among old images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import feature_stats, square_root

SMALL_SIDE = 8
DRAWS = 5  # random subsets; each needs an eigenvalue decomposition


@dataclass(frozen=True)
class Shift:
    """Mean Fréchet distances over random subsets; `floor_std`: the floor's standard deviation over them.

    images: size of the subset of new images, and of old held-out images for the floor. reference_images: the old
    training images, against which both are measured. over_floor: about 1 if the new images are like the old ones; None
    if the floor is 0.
    """

    frechet_distance: float
    floor: float
    floor_std: float
    over_floor: float | None
    images: int
    reference_images: int
    dimension: int

    @property
    def too_few(self) -> bool:
        """Whether there are fewer images than features: the covariance is singular and both distances are too large."""
        return self.images < self.dimension


def measure_shift(
    new: npt.NDArray[np.floating],
    old_train: npt.NDArray[np.floating],
    old_test: npt.NDArray[np.floating],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Shift:
    """Fréchet distance (Heusel et al. 2017, eq. 6) of new images' features (N, D) to old training images' (M, D).

    The floor uses old held-out images (K, D), which an extractor trained on the old training images has not seen
    either: compared with images it has seen, all new images look far away. A distance from few images is too large, so
    both use min(N, K) images, chosen at random. Raises ValueError when N, M or K is below 2.
    """
    count = min(len(new), len(old_test))
    if count < 2 or len(old_train) < 2:
        raise ValueError(
            "a distance needs at least two new images and two old ones of each split, got "
            f"{len(new)} new, {len(old_train)} for training and {len(old_test)} held out"
        )
    reference = feature_stats(old_train)
    root = square_root(reference.covariance)
    random = np.random.default_rng(seed)
    distances: list[float] = []
    floors: list[float] = []
    for _ in range(draws):
        for features, found in ((new, distances), (old_test, floors)):
            chosen = random.permutation(len(features))[:count]
            found.append(frechet_distance(reference, root, feature_stats(features[chosen])))
    distance, floor = float(np.mean(distances)), float(np.mean(floors))
    return Shift(
        frechet_distance=distance,
        floor=floor,
        floor_std=float(np.std(floors)),
        over_floor=distance / floor if floor > 0 else None,
        images=count,
        reference_images=len(old_train),
        dimension=new.shape[1],
    )


def small_pixels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Features without a network: images (N, C, H, W) uint8 averaged to 8 x 8, scaled to 0..1, as (N, C * 64)."""
    rows, columns = (_averaging(side) for side in images.shape[2:])
    small = np.einsum("ah,nchw,bw->ncab", rows, images.astype(np.float32) / 255, columns, optimize=True)
    features: npt.NDArray[np.float32] = small.reshape(len(images), -1).astype(np.float32)
    return features


def _averaging(side: int) -> npt.NDArray[np.float32]:
    """Return weights (8, side): each row averages the pixels that overlap its eighth of the side."""
    weights = np.zeros((SMALL_SIDE, side), dtype=np.float32)
    for index in range(SMALL_SIDE):
        begin, end = index * side // SMALL_SIDE, -(-(index + 1) * side // SMALL_SIDE)
        weights[index, begin:end] = 1 / (end - begin)
    return weights
