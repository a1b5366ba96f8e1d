"""Asynchronous successive halving: which trials go on behind a rung (Li et al. 2020, arXiv 1810.05934)."""

import math
from collections.abc import Sequence


def goes_on(distance: float, others: Sequence[float], reduction: int) -> bool:
    """Whether a trial is among the best 1/reduction of those that have reached its rung, rounded up.

    others: distances of the other trials at that rung, so far. A trial that is ended is never taken up again, as the
    paper's algorithm does when later trials turn out to be worse. Rounding up makes up for that: of 12 trials it lets
    five go on where the paper's ends with four.
    """
    allowed = math.ceil((len(others) + 1) / reduction)
    return math.isfinite(distance) and sum(other < distance for other in others) < allowed
