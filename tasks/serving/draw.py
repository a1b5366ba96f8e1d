"""The operations `draw` and `encode`: images of one model with the same sampling options; a picture's nearest noise."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.config import SamplingConfig
from genai_core.drawing import drawing as core
from genai_core.drawing.description import Drawing, DrawingError
from genai_core.drawing.latents import encode as encode_image
from genai_core.model import Model
from genai_core.models.artifact import parse_sampling
from genai_core.serving.frames import Frame
from tasks.serving.drawings import Drawings
from tasks.serving.errors import Cancelled, InputFault
from tasks.serving.uploads import picture

Pixels = npt.NDArray[np.uint8]
OnPreview = Callable[[int, int, Pixels], None]

# More often, a preview costs its way to the client and shows little that is new.
PREVIEW_EVERY_S = 0.1


@dataclass(frozen=True)
class Drawn:
    """Images (N, C, H, W), and their noise (N, *noise_shape) where at least one is not its seed's."""

    pixels: Pixels
    noise: npt.NDArray[np.float32] | None

    @property
    def blobs(self) -> Sequence[bytes]:
        """The binary parts of a reply; each has an equal share of every image."""
        return [self.pixels.tobytes(), *([] if self.noise is None else [self.noise.tobytes()])]


def draw(model: Model, frame: Frame, *, on_preview: OnPreview, cancelled: Callable[[], bool]) -> Drawn:
    """Draw the frame's `drawings` with its `sampling` options. Raises InputFault, ModelFault, Cancelled."""
    if cancelled():
        raise Cancelled
    drawings, options = Drawings(model, frame).all(), sampling_of(model, frame.header["sampling"])
    shown = _seldom(on_preview) if frame.header.get("previews") else None
    try:
        pixels = core.draw(model, drawings, options, on_preview=shown, cancelled=cancelled)
    except core.Cancelled:
        raise Cancelled from None
    except ValueError as error:  # DrawingError too
        raise InputFault(str(error)) from None
    return Drawn(pixels, _noise_of(model, drawings))


def encode(model: Model, frame: Frame) -> tuple[dict[str, Any], list[bytes]]:
    """Find the noise nearest to the frame's picture, of the class `label`; null without classes. Raises InputFault."""
    label = frame.header["label"]
    weights = None if label is None else tuple(float(label == index) for index in range(len(model.classes)))
    try:
        found = encode_image(model, picture(frame), weights, sampling_of(model, frame.header["sampling"]))
    except DrawingError as error:
        raise InputFault(str(error), param="image") from None
    return {"error": found.error, "shape": list(found.pixels.shape)}, [found.noise.tobytes(), found.pixels.tobytes()]


def sampling_of(model: Model, changes: dict[str, Any]) -> SamplingConfig:
    """Return the model's sampling options with `changes`. Raises InputFault."""
    try:
        return parse_sampling(model.family, {**model.sampling.model_dump(mode="json"), **changes})
    except ValueError as error:
        raise InputFault(str(error), param="sampling") from None


def _seldom(on_preview: OnPreview) -> OnPreview:
    newest = time.monotonic()

    def show(done: int, steps: int, images: Pixels) -> None:
        nonlocal newest
        if time.monotonic() - newest >= PREVIEW_EVERY_S:
            newest = time.monotonic()
            on_preview(done, steps, images)

    return show


def _noise_of(model: Model, drawings: Sequence[Drawing]) -> npt.NDArray[np.float32] | None:
    """Return the given noise of each drawing, zeros for a seed's own; None if no drawing has any."""
    if all(drawing.noise is None for drawing in drawings):
        return None
    blank = np.zeros(model.network.noise_shape, np.float32)
    return np.stack([blank if drawing.noise is None else drawing.noise for drawing in drawings]).astype(np.float32)
