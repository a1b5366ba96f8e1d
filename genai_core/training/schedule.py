"""Progress and end of a run, and the learning rate at every point."""

from dataclasses import dataclass
from typing import Literal

EndedBy = Literal["images", "seconds", "converged"]


@dataclass(frozen=True)
class Budget:
    """Limits of a run: images, and seconds (None: unlimited), whichever is reached first."""

    total_images: int
    batch_images: int
    max_seconds: float | None

    @property
    def total_steps(self) -> int:
        """Number of batches to reach total_images."""
        return -(-self.total_images // self.batch_images)

    def share(self, steps: int, seconds: float) -> float:
        """Share of the run that is done, 0 to 1, by images or by seconds, whichever is larger."""
        return min(1.0, max(steps / self.total_steps, seconds / self.max_seconds if self.max_seconds else 0.0))

    def ended_by(self, steps: int, seconds: float) -> EndedBy | None:
        """Return the limit that is reached; None if neither is."""
        if steps >= self.total_steps:
            return "images"
        return "seconds" if self.max_seconds is not None and seconds >= self.max_seconds else None


def learning_rate_share(share: float, images_seen: int, *, warmup_images: int, decay_share: float) -> float:
    """Return the learning rate's factor: linear warm-up, plateau, linear decay to 0 at the end of the run.

    share: of the run, done before the batch at hand, so that the last batch has a rate above 0. images_seen: including
    the batch, so that the first has one too. decay_share: final share of the run in which the rate falls; 0 for none.
    """
    rise = images_seen / warmup_images if warmup_images else 1.0
    fall = (1.0 - share) / decay_share if decay_share else 1.0
    return max(0.0, min(1.0, rise, fall))
