"""What is written down during a run: the curves, and the moments at which pictures are taken."""

from dataclasses import asdict, dataclass, field
from typing import Any

Row = dict[str, float]

_ROWS = 100
# Most of what changes happens early: each picture but the first is taken at twice the images of the one before.
_MOMENTS = 6


@dataclass
class Curves:
    """Means of the figures over equal stretches of the run, at most 100 rows. A checkpoint keeps all of it."""

    rows: list[Row] = field(default_factory=list)
    sums: Row = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)  # that had the figure: a phase may begin within a row

    def add(self, share: float, images: int, figures: Row, *, last: bool) -> Row | None:
        """Take the figures of one step; the row that it ends, if it ends one.

        share: of the run, over with this step. images: seen with it.
        """
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.steps[name] = self.steps.get(name, 0) + 1
        # Rounded: 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
        if not last and round(share * _ROWS, 6) < len(self.rows) + 1:
            return None
        self.rows.append({"images": images, **{name: total / self.steps[name] for name, total in self.sums.items()}})
        self.sums, self.steps = {}, {}
        return self.rows[-1]

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)


def pictures_due(share: float) -> int:
    """How many of the run's 6 pictures should be taken when this share of it is over; the last is due at its end."""
    return sum(share >= 0.5**power for power in range(_MOMENTS))
