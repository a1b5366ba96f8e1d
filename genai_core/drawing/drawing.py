"""Draw images, each from its own description; its pixels do not depend on what is drawn with it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.drawing.batches import Batch, batches, run_batches
from genai_core.drawing.board import Board, Cancelled, OnPreview, Pixels
from genai_core.drawing.description import Drawing, DrawingError, check_drawing
from genai_core.drawing.starts import StartNoises, start_noises
from genai_core.models.editing import Start
from genai_core.models.protocol import to_unit

if TYPE_CHECKING:
    from genai_core.model import Model

__all__ = ["Cancelled", "Drawing", "DrawingError", "check_drawing", "draw"]

_BLANK = 128  # grey level of an image that has not begun


def draw(
    model: "Model",
    drawings: Sequence[Drawing],
    sampling: SamplingConfig,
    *,
    on_preview: OnPreview | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Pixels:
    """Draw images (N, C, H, W) uint8. Image i depends only on drawings[i] and `sampling`, bit for bit on one machine.

    on_preview: called between steps, ten times a second at most, with all images as they look then; images not begun
    are grey, or their start image. cancelled: asked between steps. on_progress: called with the
    number of images done. All are called from one thread at a time. Raises DrawingError for a drawing that does not fit
    the model, Cancelled, and SamplingError for sampling options that do not.
    """
    if not drawings:
        raise DrawingError("drawings: expected at least one, got none")
    for drawing in drawings:
        check_drawing(model, drawing)
    threads = torch.get_num_threads()
    images = np.full((len(drawings), *model.shape), _BLANK, dtype=np.uint8)
    kept, planned = [], []
    for group in _groups(drawings):
        first = drawings[group[0]]
        for place in group:
            start = drawings[place].start
            if start is not None and drawings[place].uses_start:
                images[place] = start
        if first.start is not None and first.strength == 0:
            kept += group
        else:
            planned += batches(group, model.device, threads)
    board = Board(images, on_preview, cancelled, on_progress)
    if kept:
        board.count(len(kept))
    starts = start_noises(model, drawings, sampling, board.check)

    def work(batch: Batch) -> None:
        rows = [drawings[row] for row in batch.rows]
        watch = board.watch(batch, rows)
        with model.autocast():
            drawn = model.network.sample_from(
                _noise(model, rows), class_weights(rows), sampling, _start(model, rows, starts), watch
            )
        board.finish(batch, rows, drawn)

    run_batches(work, planned, model.device, threads)
    return images


def class_weights(drawings: Sequence[Drawing]) -> Tensor | None:
    """Return the weights of the classes, (N, classes) float32; None without classes."""
    rows = [drawing.weights for drawing in drawings if drawing.weights is not None]
    return torch.tensor(rows, dtype=torch.float32) if rows else None


def _groups(drawings: Sequence[Drawing]) -> list[list[int]]:
    """Return the places of drawings that can be computed together: the same strength, and all or none with a mask."""
    groups: dict[tuple[bool, float, bool], list[int]] = {}
    for place, drawing in enumerate(drawings):
        key = (drawing.uses_start, drawing.strength if drawing.uses_start else 1.0, drawing.mask is not None)
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _noise(model: "Model", drawings: Sequence[Drawing]) -> Tensor:
    """Return the noise of each drawing, (N, *noise_shape) float32."""
    own = model.network.noise(torch.tensor([drawing.seed for drawing in drawings]))
    for row, drawing in enumerate(drawings):
        if drawing.noise is not None:
            own[row] = torch.from_numpy(np.ascontiguousarray(drawing.noise, dtype=np.float32))
    return own


def _start(model: "Model", drawings: Sequence[Drawing], noises: StartNoises) -> Start | None:
    """Return what a batch begins from; its drawings agree on whether they have a start image and a mask."""
    images = [drawing.start for drawing in drawings if drawing.start is not None and drawing.uses_start]
    if not images:
        return None
    masks = [drawing.mask for drawing in drawings if drawing.mask is not None]
    return Start(
        images=to_unit(torch.from_numpy(np.stack(images)).to(model.device)),
        strength=drawings[0].strength,
        mask=torch.from_numpy(np.stack(masks))[:, None].to(model.device) if masks else None,
        noise=noises.of(drawings, model.device),
    )
