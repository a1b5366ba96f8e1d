"""The noise of start images, for the families that begin from noise alone."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.drawing.description import Drawing
from genai_core.drawing.latents import encode
from genai_core.models.protocol import GenerativeModel

if TYPE_CHECKING:
    from genai_core.model import Model

Key = tuple[bytes, tuple[float, ...] | None]
Noise = npt.NDArray[np.float32]

# Changing the strength redraws the same start image many times, and the search takes most of the time. Its result
# depends on the key alone, so keeping it changes no pixel.
_KEPT_NOISES = 64
_kept: WeakKeyDictionary[GenerativeModel, OrderedDict[tuple[Key, str], Noise]] = WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True)
class StartNoises:
    """The noise of each start image of a request, by image and class weights."""

    found: dict[Key, Noise]

    def of(self, drawings: Sequence[Drawing], device: torch.device) -> Tensor | None:
        """Return the noise of the drawings' start images, (N, *noise_shape); None for a family that needs none."""
        rows = [_given(drawing, self.found) for drawing in drawings]
        known = [row for row in rows if row is not None]
        return torch.from_numpy(np.stack(known)).to(device) if len(known) == len(rows) else None


def start_noises(
    model: "Model", drawings: Sequence[Drawing], sampling: SamplingConfig, check: Callable[[], None]
) -> StartNoises:
    """Find the noise of each different start image, once; `check` is called before each."""
    found: dict[Key, Noise] = {}
    if model.network.edits_images:
        return StartNoises(found)
    for drawing in drawings:
        if drawing.start is None or not drawing.uses_start or drawing.strength == 0 or drawing.start_noise is not None:
            continue
        key = _key(drawing)
        if key not in found:
            check()
            found[key] = _noise(model, drawing.start, drawing.weights, sampling)
    return StartNoises(found)


def _noise(
    model: "Model", start: npt.NDArray[np.uint8], weights: tuple[float, ...] | None, sampling: SamplingConfig
) -> Noise:
    """Return the noise of a start image, from those found before where it is among the last ones."""
    key = (start.tobytes(), weights), f"{model.dtype} {sampling!r}"
    with _lock:
        known = _kept.setdefault(model.network, OrderedDict())
        if key in known:
            known.move_to_end(key)
            return known[key]
    noise = encode(model, start, weights, sampling).noise
    with _lock:
        known[key] = noise
        while len(known) > _KEPT_NOISES:
            known.popitem(last=False)
    return noise


def _key(drawing: Drawing) -> Key:
    assert drawing.start is not None
    return drawing.start.tobytes(), drawing.weights


def _given(drawing: Drawing, found: dict[Key, Noise]) -> Noise | None:
    return drawing.start_noise if drawing.start_noise is not None else found.get(_key(drawing))
