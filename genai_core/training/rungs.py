"""Rungs: shares of a run at which a search compares it with other runs, to end those that fall behind."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genai_core.models.protocol import GenerativeModel

Measured = dict[str, Any]  # share, images (seen), distance; how it was measured


@dataclass(frozen=True)
class Rungs:
    """Evaluations of the averaged weights at some shares of a run. They change nothing in it but its duration.

    how: what decides a distance besides the weights, as JSON values. evaluate: the distance of a model's images from
    the training images, smaller is better; called with the averaged weights in place. report: receives share, images
    seen and distance, in the first process only.
    """

    shares: tuple[float, ...]
    how: Mapping[str, Any]
    evaluate: Callable[[GenerativeModel], float]
    report: Callable[[float, int, float], None]

    def passed(self, before: float, share: float) -> float | None:
        """Return the last rung that a step reached, from share `before` to `share`; None if there is none."""
        return next((rung for rung in reversed(self.shares) if before < rung <= share), None)

    def report_again(self, measured: Iterable[Measured]) -> None:
        """Report what a resumed run measured before its checkpoint, at these shares and in the same way."""
        for one in measured:
            if one["share"] in self.shares and one["how"] == self.how:
                self.report(one["share"], int(one["images"]), one["distance"])
