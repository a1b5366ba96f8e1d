"""Simulation of the warning about near copies, because its threshold is an uncertain percentile."""

import numpy as np

from genai_core.evaluation.figures.bootstrap import share_interval
from genai_core.evaluation.figures.memorisation import threshold, within
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.model_evaluation import COPY_WARNING_FACTOR

PERCENTILE, TRIALS = 1.0, 150
TRAIN, HELD_OUT, DRAWN, DIM = 500, 300, 400, 6


def warned(copied_share: float) -> float:
    """Share of trials with a warning, for a model that generates this share of slightly changed training images."""
    found = 0
    for trial in range(TRIALS):
        generator = np.random.default_rng(trial)
        train, held_out, drawn = (generator.normal(size=(count, DIM)) for count in (TRAIN, HELD_OUT, DRAWN))
        copies = round(copied_share * DRAWN)
        drawn[:copies] = train[generator.integers(0, TRAIN, copies)] + 0.01 * generator.normal(size=(copies, DIM))
        limit = threshold(nearest(held_out, train).distances[:, 0], PERCENTILE)
        share = float(within(drawn, train, limit).copied.mean())
        found += share_interval(share, DRAWN, 0.95).low > COPY_WARNING_FACTOR * PERCENTILE / 100
    return found / TRIALS


def test_new_images_do_not_cause_a_warning() -> None:
    assert warned(0.0) <= 0.01


def test_10_percent_of_copies_cause_a_warning() -> None:
    assert warned(0.1) >= 0.99
