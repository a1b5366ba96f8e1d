"""Rungs: shares of a run at which a search compares it with other runs, to end those that fall behind."""

from collections.abc import Callable
from dataclasses import dataclass

from genai_core.models.protocol import GenerativeModel


@dataclass(frozen=True)
class Rungs:
    """Evaluations of the averaged weights at some shares of a run. They change nothing in it but its duration.

    evaluate: the distance of a model's images from the training images, smaller is better; called with the averaged
    weights in place. report: receives share, images seen and distance, in the first process only.
    """

    shares: tuple[float, ...]
    evaluate: Callable[[GenerativeModel], float]
    report: Callable[[float, int, float], None]

    def passed(self, before: float, share: float) -> float | None:
        """Return the last rung that a step reached, from share `before` to `share`; None if there is none."""
        return next((rung for rung in reversed(self.shares) if before < rung <= share), None)
