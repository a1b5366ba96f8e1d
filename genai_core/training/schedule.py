"""How far a run is, when it ends, and the learning rate at every point."""

from dataclasses import dataclass
from typing import Literal

EndedBy = Literal["images", "seconds", "converged"]


@dataclass(frozen=True)
class Budget:
    """What a run may take: images, and seconds (None: any), whichever is used up first."""

    total_images: int
    batch_images: int
    max_seconds: float | None

    @property
    def total_steps(self) -> int:
        """Batches that reach total_images."""
        return -(-self.total_images // self.batch_images)

    def share(self, steps: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1: of the images or of the seconds, whichever is more."""
        return min(1.0, max(steps / self.total_steps, seconds / self.max_seconds if self.max_seconds else 0.0))

    def ended_by(self, steps: int, seconds: float) -> EndedBy | None:
        """What is used up; None while there is something left."""
        if steps >= self.total_steps:
            return "images"
        return "seconds" if self.max_seconds is not None and seconds >= self.max_seconds else None


def learning_rate_share(share: float, images_seen: int, *, warmup_images: int, decay_share: float) -> float:
    """The learning rate as a share of its full value: a linear rise, a plateau, a linear fall to 0 at the run's end.

    share: of the run, over before the batch at hand, so that the last batch has a rate above 0. images_seen: with it,
    so that the first has one too. decay_share: of the run, at its end, over which the rate falls; 0 for none.
    """
    rise = images_seen / warmup_images if warmup_images else 1.0
    fall = (1.0 - share) / decay_share if decay_share else 1.0
    return max(0.0, min(1.0, rise, fall))
