"""Groups of similar real images, used instead of classes when the images have none."""

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.set_figures import Labels

# Enough groups that a missing kind of image is most of a group; few enough that a group's share is meaningful.
MAX_GROUPS, MIN_GROUP_IMAGES = 10, 50


def group_by_similarity(features: npt.NDArray[np.float32], seed: int) -> Labels:
    """Assign each of features (N, D) to a group (N,): k-means (Lloyd 1982) with k-means++ starts.

    Makes up to MAX_GROUPS groups of at least MIN_GROUP_IMAGES images on average, or a single one if there are fewer
    images. The same arguments give the same groups.
    """
    from sklearn.cluster import KMeans  # takes over a second to import

    count = max(1, min(MAX_GROUPS, len(features) // MIN_GROUP_IMAGES))
    found: Labels = KMeans(count, n_init=3, random_state=seed).fit_predict(features).astype(np.int64)
    return found
