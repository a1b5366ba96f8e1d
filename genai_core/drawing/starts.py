"""The noise of start images, for the families that begin from noise alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.drawing.description import Drawing
from genai_core.drawing.latents import encode

if TYPE_CHECKING:
    from genai_core.model import Model


@dataclass(frozen=True)
class StartNoises:
    """The noise of each start image of a request, by image and class weights."""

    found: dict[tuple[bytes, tuple[float, ...] | None], npt.NDArray[np.float32]]

    def of(self, drawings: Sequence[Drawing], device: torch.device) -> Tensor | None:
        """Return the noise of the drawings' start images, (N, *noise_shape); None for a family that needs none."""
        rows = [_given(drawing, self.found) for drawing in drawings]
        known = [row for row in rows if row is not None]
        return torch.from_numpy(np.stack(known)).to(device) if len(known) == len(rows) else None


def start_noises(
    model: "Model", drawings: Sequence[Drawing], sampling: SamplingConfig, check: Callable[[], None]
) -> StartNoises:
    """Find the noise of each different start image, once; `check` is called before each."""
    found: dict[tuple[bytes, tuple[float, ...] | None], npt.NDArray[np.float32]] = {}
    if model.network.edits_images:
        return StartNoises(found)
    for drawing in drawings:
        if drawing.start is None or drawing.strength == 0 or drawing.start_noise is not None:
            continue
        key = _key(drawing)
        if key not in found:
            check()
            found[key] = encode(model, drawing.start, drawing.weights, sampling).noise
    return StartNoises(found)


def _key(drawing: Drawing) -> tuple[bytes, tuple[float, ...] | None]:
    assert drawing.start is not None
    return drawing.start.tobytes(), drawing.weights


def _given(
    drawing: Drawing, found: dict[tuple[bytes, tuple[float, ...] | None], npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32] | None:
    return drawing.start_noise if drawing.start_noise is not None else found.get(_key(drawing))
