"""Early stopping: a run has converged when its images have not come closer to the training images for a while."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from genai_core.config import EarlyStopConfig

# Maximum share of the run's time for evaluations; beyond it, evaluations are skipped. So on a slow or busy machine a
# run may end at another step. Counted operations would not do: sampling one image at a time, token by token, reaches
# another share of the hardware's speed than training does.
_MAX_TIME_SHARE = 0.05


@dataclass
class EarlyStop:
    """Evaluations so far, and the averaged weights of the best one. Stored in checkpoints.

    A converged run ends with the best weights: later ones were no better, and a GAN's may be worse. A run that ends by
    its budget keeps its last weights, because the learning rate decay aims at them.
    """

    evaluations: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_average: dict[str, Tensor] | None = None
    without_improvement: int = 0
    intervals: int = 0  # number of every_images intervals passed

    def due(self, config: EarlyStopConfig, images: int, spent_s: float, run_s: float, *, complete: bool) -> bool:
        """Whether to evaluate now. spent_s: seconds spent on evaluations, of the run's run_s.

        complete: whether the phases that finish the generator are running. Some families train one part before another;
        until then, images say nothing about the progress of the run.
        """
        intervals = images // config.every_images
        if intervals == self.intervals:
            return False
        self.intervals = intervals
        return complete and spent_s <= _MAX_TIME_SHARE * run_s

    def take(self, config: EarlyStopConfig, images: int, distance: float, average: dict[str, Tensor]) -> None:
        """Record a measured distance; copy `average` if it is the best so far."""
        self.evaluations.append({"images": images, "distance": distance})
        if self.best is None or distance < self.best * (1.0 - config.min_improvement):
            self.best, self.without_improvement = distance, 0
            self.best_average = {name: tensor.detach().clone() for name, tensor in average.items()}
        else:
            self.without_improvement += 1

    def converged(self, config: EarlyStopConfig) -> bool:
        """Whether enough evaluations in a row brought no improvement."""
        return self.without_improvement >= config.patience

    def state_dict(self) -> dict[str, Any]:
        # Without the weights: asdict would deep-copy them.
        return {
            **asdict(EarlyStop(self.evaluations, self.best, None, self.without_improvement, self.intervals)),
            "best_average": self.best_average,
        }
