"""When a run has converged: its pictures have not come nearer to the training images for some evaluations."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from genai_core.config import EarlyStopConfig

# Evaluations may take this share of the run's seconds; where they would take more, some are left out.
_MOST_SHARE = 0.05


@dataclass
class EarlyStop:
    """The evaluations so far, and the averaged weights of the best one. A checkpoint keeps all of it.

    When the run converges it ends with the best weights: what follows them was no better, and a GAN's may be worse. A
    run that ends by its budget keeps its last weights, as the falling learning rate was meant for them.
    """

    evaluations: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_average: dict[str, Tensor] | None = None
    without_improvement: int = 0
    intervals: int = 0  # of every_images, that are over

    def due(self, config: EarlyStopConfig, images: int, spent_s: float, run_s: float, *, complete: bool) -> bool:
        """Whether to evaluate now. spent_s: on evaluations, of the run's run_s seconds.

        complete: whether what draws is being trained as a whole, and not one part of it before another. Before that,
        images say nothing of how far the run is.
        """
        intervals = images // config.every_images
        if intervals == self.intervals:
            return False
        self.intervals = intervals
        return complete and spent_s <= _MOST_SHARE * run_s

    def take(self, config: EarlyStopConfig, images: int, distance: float, average: dict[str, Tensor]) -> None:
        """Take the distance that was measured; `average` is copied if it is the best."""
        self.evaluations.append({"images": images, "distance": distance})
        if self.best is None or distance < self.best * (1.0 - config.min_improvement):
            self.best, self.without_improvement = distance, 0
            self.best_average = {name: tensor.detach().clone() for name, tensor in average.items()}
        else:
            self.without_improvement += 1

    def converged(self, config: EarlyStopConfig) -> bool:
        """Whether so many evaluations in a row brought nothing that it is time to stop."""
        return self.without_improvement >= config.patience

    def state_dict(self) -> dict[str, Any]:
        # Not asdict for the weights: it copies deeply.
        return {
            **asdict(EarlyStop(self.evaluations, self.best, None, self.without_improvement, self.intervals)),
            "best_average": self.best_average,
        }
