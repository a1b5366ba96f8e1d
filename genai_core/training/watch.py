"""Detection of broken runs: a loss that is not a number, or one that explodes."""

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

# Judge blocks of steps: a single bad batch is not a fault, as gradient clipping and Adam recover from it.
BLOCK_STEPS = 16
_BLOCKS = 16
# An untrained network has the largest loss of a healthy run, so ten times that means training has failed. Real
# explosions are orders of magnitude larger; a GAN's losses, which rise and fall in healthy runs, stay well below.
_EXPLOSION_FACTOR = 10.0


class DivergedError(ValueError):
    """Training failed repeatedly; the message says when, and what to change."""


class BrokenLossError(Exception):
    """A loss that must not update the weights; the message says its value."""


@dataclass
class LossWatch:
    """Checks whether the losses of one phase are those of a healthy run. Stored in checkpoints.

    A loss is broken when it is NaN or infinite, or when the median of a block of 16 is above 10 times the larger of two
    values: the largest absolute loss in the phase's first block, and the usual one (the median over the last 16
    blocks).
    """

    largest_first: float = 0.0
    block: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)  # medians of the absolute losses of the last blocks

    def check(self, phase: str, loss: float) -> None:
        """Add the loss of one step. Raises BrokenLossError."""
        if not math.isfinite(loss):
            raise BrokenLossError(f"the loss of the {phase} became {loss}")
        self.block.append(loss)
        if len(self.block) < BLOCK_STEPS:
            return
        block, self.block = self.block, []
        if self.usual:
            expected, level = max(self.largest_first, median(self.usual)), median(block)
            if level > _EXPLOSION_FACTOR * expected:
                raise BrokenLossError(
                    f"the loss of the {phase} exploded to {level:.4g}; the usual value is {expected:.4g}"
                )
        else:
            self.largest_first = max(map(abs, block))
        self.usual = [*self.usual[1 - _BLOCKS :], median(map(abs, block))]

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)
