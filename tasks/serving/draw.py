"""The operations `draw` and `encode`: images of one model with the same sampling options; a picture's nearest noise."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.drawing.board import Cancelled, OnPreview
from genai_core.drawing.description import Drawing, DrawingError, one_hot
from genai_core.drawing.drawing import draw as draw_images
from genai_core.drawing.latents import encode as encode_image
from genai_core.model import Model, ModelError
from genai_core.models.protocol import SamplingError
from genai_core.serving.frames import Frame
from tasks.serving.drawings import Drawings
from tasks.serving.errors import InputFault
from tasks.serving.uploads import picture

Pixels = npt.NDArray[np.uint8]


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
        raise Cancelled("cancelled before it began")
    shown = on_preview if frame.header.get("previews") else None
    with faults():
        drawings, options = Drawings(model, frame).all(), model.sampling_with(frame.header["sampling"])
        pixels = draw_images(model, drawings, options, on_preview=shown, cancelled=cancelled)
    return Drawn(pixels, _noise_of(model, drawings))


def encode(model: Model, frame: Frame) -> tuple[dict[str, Any], list[bytes]]:
    """Find the noise nearest to the frame's picture, of the class `label`; null without classes. Raises InputFault.

    The binary parts are the noise, what it draws, and the picture as it was decoded for the model.
    """
    weights = one_hot(frame.header["label"], len(model.classes))
    given = picture(frame)
    with faults("image"):
        found = encode_image(model, given, weights, model.sampling_with(frame.header["sampling"]))
    parts = (found.noise, found.pixels, given)
    return {"error": found.error, "shape": list(found.pixels.shape)}, [part.tobytes() for part in parts]


@contextmanager
def faults(param: str | None = None) -> Iterator[None]:
    """Turn what the library refuses into InputFault: of the field `param`, or of the sampling options."""
    try:
        yield
    except (ModelError, SamplingError) as error:
        raise InputFault(str(error), param="sampling") from None
    except DrawingError as error:
        raise InputFault(str(error), param=param) from None


def _noise_of(model: Model, drawings: Sequence[Drawing]) -> npt.NDArray[np.float32] | None:
    """Return the given noise of each drawing, zeros for a seed's own; None if no drawing has any."""
    if all(drawing.noise is None for drawing in drawings):
        return None
    blank = np.zeros(model.network.noise_shape, np.float32)
    return np.stack([blank if drawing.noise is None else drawing.noise for drawing in drawings]).astype(np.float32)
