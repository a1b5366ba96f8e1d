"""The state of a running drawing: previews, progress, and whether it was cancelled."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from genai_core import GenaiError
from genai_core.drawing.batches import Batch
from genai_core.drawing.description import Drawing
from genai_core.models.editing import Watch

Pixels = npt.NDArray[np.uint8]
OnPreview = Callable[[Pixels], None]

# More often, computing a preview and its way to a client cost more than it shows.
PREVIEW_EVERY_S = 0.1


class Cancelled(GenaiError):
    """The drawing was cancelled between two steps."""


class Board:
    """Holds the images (N, C, H, W) of a request; batches on several threads report to it, one at a time."""

    def __init__(
        self,
        images: Pixels,
        on_preview: OnPreview | None,
        cancelled: Callable[[], bool] | None,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self._images = images
        self._on_preview, self._cancelled, self._on_progress = on_preview, cancelled, on_progress
        self._lock = threading.Lock()
        self._images_done = 0
        self._previewed_s = time.monotonic()

    def check(self) -> None:
        """Raise Cancelled if the drawing was cancelled."""
        with self._lock:
            self._check()

    def watch(self, batch: Batch, rows: Sequence[Drawing]) -> Watch | None:
        """Return what a batch of these rows reports its steps to; None if no callback was given."""
        self.check()
        if self._on_preview is None and self._cancelled is None:
            return None

        def report(done: int, steps: int, images: Callable[[], Tensor]) -> None:
            with self._lock:
                self._check()
                # The last step's images are the finished ones, which `finish` shows.
                if self._on_preview is None or done == steps:
                    return
                if time.monotonic() - self._previewed_s >= PREVIEW_EVERY_S:
                    self._previewed_s = time.monotonic()
                    self._write(batch, rows, images())
                    self._on_preview(self._images.copy())

        return report

    def finish(self, batch: Batch, rows: Sequence[Drawing], images: Tensor) -> None:
        """Take the finished images of a batch, (rows, C, H, W) uint8."""
        with self._lock:
            self._write(batch, rows, images)
        self.count(len(batch.places))

    def count(self, images: int) -> None:
        """Count images as done."""
        with self._lock:
            self._images_done += images
            if self._on_progress is not None:
                self._on_progress(self._images_done)

    def _check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("the drawing was cancelled")

    def _write(self, batch: Batch, rows: Sequence[Drawing], images: Tensor) -> None:
        for place, drawing, image in zip(batch.places, rows, images.cpu().numpy(), strict=False):
            if drawing.mask is None:
                self._images[place] = image
            else:
                self._images[place] = np.where(drawing.mask, image, drawing.start)
