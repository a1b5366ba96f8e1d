"""A loaded model as the server knows it: one generation of a served name."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.serving.real_data import RealData

# Weight of the newest measurement in the moving average.
_NEWEST = 0.2


@dataclass(eq=False)
class Generation:
    """One set of weights under a served name. A promotion makes a new generation; the old one finishes its jobs.

    key: the process's name for it. real_data: None if its real images are not here. is_named: as in Source.
    description: what the process said of it (tasks/serving/describe.py). sha256: what the weights must have when they
    are loaded again.
    """

    name: str
    key: str
    folder: Path
    version: str | None
    sha256: str | None
    real_data: RealData | None = None
    is_named: bool = True
    description: dict[str, Any] = field(default_factory=dict)
    ms_per_image: float | None = None
    outstanding: int = 0
    retired: bool = False
    fault: str | None = None  # why it cannot be used any more
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def has_changed(self) -> None:
        """Refuse it from now on: its files are not those that were loaded."""
        self.fault = (
            f"the weights of {self.name} have changed since they were loaded (sha256 {str(self.sha256)[:12]}); "
            "restart `genai serve` to serve the new ones"
        )

    def measured(self, ms: float, images: int) -> None:
        """Take a batch's duration into the average."""
        value = ms / images
        self.ms_per_image = (
            value if self.ms_per_image is None else _NEWEST * value + (1.0 - _NEWEST) * self.ms_per_image
        )

    def release(self) -> None:
        """Count one job or request less; `idle` is set with the last one of a retired generation."""
        self.outstanding -= 1
        if self.retired and not self.outstanding:
            self.idle.set()

    def retire(self) -> None:
        """No new job will name it."""
        self.retired = True
        if not self.outstanding:
            self.idle.set()
