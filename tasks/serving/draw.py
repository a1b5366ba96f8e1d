"""The operation `draw`: images of one model with the same sampling options, each from its own seed and class."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genai_core.config import SamplingConfig
from genai_core.model import Model
from genai_core.models.artifact import parse_sampling
from genai_core.sampling.sample import sample_images
from genai_core.serving.frames import Frame
from tasks.serving.errors import Cancelled, InputFault


def draw(model: Model, frame: Frame, *, cancelled: Callable[[], bool]) -> npt.NDArray[np.uint8]:
    """Draw the frame's `drawings` with its `sampling` options and return them, (N, C, H, W).

    A drawing has `seed` and `label`, an index into the model's classes; null without classes. Raises InputFault.
    """
    drawings = frame.header["drawings"]
    if cancelled():
        raise Cancelled
    labels = torch.tensor([drawing["label"] for drawing in drawings]) if model.classes else None
    seeds = torch.tensor([drawing["seed"] for drawing in drawings])
    options = sampling_of(model, frame.header["sampling"])
    with torch.autocast(model.device.type, model.dtype, enabled=model.dtype != torch.float32):
        return sample_images(model.network, labels, seeds, options, len(drawings))


def sampling_of(model: Model, changes: dict[str, Any]) -> SamplingConfig:
    """Return the model's sampling options with `changes`. Raises InputFault."""
    try:
        return parse_sampling(model.family, {**model.sampling.model_dump(mode="json"), **changes})
    except ValueError as error:
        raise InputFault(str(error), param="sampling") from None
