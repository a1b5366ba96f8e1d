"""Why figures need generated images in the class proportions of the real ones."""

import numpy as np

from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.sampling.sample import proportional_labels

COUNTS = (18_000, 2_000)


def test_a_perfect_model_reaches_the_floor_and_beats_one_that_ignores_a_rare_label():
    random, far = np.random.default_rng(0), 6 * np.eye(1, 16)

    def drawn(labels):
        return feature_stats(random.normal(size=(len(labels), 16)) + labels[:, None] * far)

    real = drawn(np.repeat([0, 1], COUNTS))
    root = square_root(real.covariance)
    floor = frechet_distance(real, root, drawn(np.repeat([0, 1], [1_800, 200])))
    requested = proportional_labels(2_000, COUNTS).numpy()
    ignored = requested.copy()
    ignored[np.flatnonzero(requested == 1)[:160]] = 0  # class 0 for 80% of the requests of class 1
    perfect, deaf = (frechet_distance(real, root, drawn(labels)) for labels in (requested, ignored))
    assert perfect < 2 * floor
    assert deaf > 5 * perfect
