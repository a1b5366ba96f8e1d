"""Result of a training run."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.training.curves import Row
from genai_core.training.moments import Moments
from genai_core.training.run import Rollback
from genai_core.training.schedule import EndedBy


@dataclass(frozen=True)
class Previews:
    """Previews from the averaged weights at one point of the run: images (10, C, H, W) uint8."""

    images_seen: int
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingResult:
    """Result of a whole run, resumed or not; except for times and memory, the same in every run without max_seconds
    and early_stop, which depend on the machine's speed.
    """

    images: int
    steps: int
    ended_by: EndedBy
    curves: list[Row]
    snapshots: list[Previews]
    rollbacks: list[Rollback]
    evaluations: list[dict[str, float]]  # {"images", "distance"}
    micro_batch_images: int  # per pass, in each process
    processes: int
    is_first: bool  # whether this process writes the results
    seconds: float  # in the loop, over all attempts
    evaluation_seconds: float
    peak_memory_mb: float  # on the GPU, or of this process if it runs on the CPU
    moments: Moments  # of the optimizers, for a training that continues this one
