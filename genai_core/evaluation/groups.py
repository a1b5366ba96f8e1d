"""Groups of alike real images, for what would be a question of classes where the images have none."""

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.against import Labels

# Enough that a lost kind of image is most of a group; few enough that a group's share says something.
GROUPS, LEAST_IMAGES = 10, 50


def alike(features: npt.NDArray[np.float32], seed: int) -> Labels:
    """A group (N,) for each of features (N, D): k-means (Lloyd 1982) from k-means++ starts, GROUPS at most.

    As many as there are LEAST_IMAGES images a group for, at least one; the same arguments give the same groups.
    """
    from sklearn.cluster import KMeans  # takes over a second to import

    count = max(1, min(GROUPS, len(features) // LEAST_IMAGES))
    found: Labels = KMeans(count, n_init=3, random_state=seed).fit_predict(features).astype(np.int64)
    return found
