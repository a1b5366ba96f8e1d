"""What is followed during training: broken losses, the curves, the moments at which pictures are taken."""

import math
from dataclasses import dataclass

Row = dict[str, float]

_CURVE_ROWS = 100
# Most of what changes happens early: each picture but the first is taken at twice the images of the one before.
_MOMENTS = 6


class DivergedError(ValueError):
    """A loss is no number any more; the message says when, and what to change."""


def check_finite(phase: str, loss: float, images: int) -> None:
    """Raises DivergedError when the loss is NaN or infinite: each step after it would only spread it."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss of the {phase} became {loss} after {images:,} images; lower the model's training.learning_rate, "
            "set training.gradient_clip_norm, or use precision: fp32"
        )


def snapshot_steps(total_steps: int) -> list[int]:
    """After how many steps pictures are taken: at most 6, the last at the end."""
    return sorted({max(1, round(total_steps / 2**power)) for power in range(_MOMENTS)})


@dataclass
class Curves:
    """Means of the figures over equal stretches of the run, about 100 rows in all. A checkpoint keeps all of it."""

    total_steps: int
    rows: list[Row]
    sums: Row
    steps: int = 0

    def add(self, step: int, images: int, figures: Row) -> None:
        """Take the figures of one step (from 1 on); `images` seen with it."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1
        if step % max(1, round(self.total_steps / _CURVE_ROWS)) == 0 or step == self.total_steps:
            self.rows.append({"images": images, **{name: total / self.steps for name, total in self.sums.items()}})
            self.sums, self.steps = {}, 0
