"""Curves of a run, and when to generate previews."""

from dataclasses import asdict, dataclass, field
from typing import Any

Row = dict[str, float]

_ROWS = 100
# Most changes happen early: previews are generated at the end, at half of the run, at a quarter and so on.
_PREVIEWS = 6


@dataclass
class Curves:
    """Mean figures over equal sections of the run, at most 100 rows. Stored in checkpoints."""

    rows: list[Row] = field(default_factory=list)
    sums: Row = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)  # number of steps with the figure: a phase may start mid-row

    def add(self, share: float, images: int, figures: Row, *, last: bool) -> Row | None:
        """Add the figures of one step; return the row that it completes, or None.

        share: of the run, done after this step. images: seen after this step.
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


def previews_due(share: float) -> int:
    """Return how many of the run's 6 previews are due when this share of it is done; the last is due at its end."""
    return sum(share >= 0.5**power for power in range(_PREVIEWS))
