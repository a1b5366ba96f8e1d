"""What a run came to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.training.curves import Row
from genai_core.training.run import Rollback
from genai_core.training.schedule import EndedBy


@dataclass(frozen=True)
class Snapshot:
    """What the averaged weights drew at one moment: images (10, C, H, W) uint8."""

    images_seen: int
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingResult:
    """What a whole run came to, resumed or not; all but the seconds is the same in every run without max_seconds."""

    images: int
    steps: int
    ended_by: EndedBy
    curves: list[Row]
    snapshots: list[Snapshot]
    rollbacks: list[Rollback]
    evaluations: list[dict[str, float]]  # {"images", "distance"}
    micro_batch_images: int  # at a time, in each process
    processes: int
    is_first: bool  # of the processes: the one that writes what came of it
    seconds: float  # in the loop, over all attempts at the run
    evaluation_seconds: float
    peak_memory_mb: float  # of the device, or of this process on a processor
