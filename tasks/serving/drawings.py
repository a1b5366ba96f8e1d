"""From the server's values to drawings: noise between points, mixtures, directions, start images and masks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genai_core.drawing.description import Drawing, one_hot
from genai_core.drawing.latents import walk
from genai_core.model import Model
from genai_core.serving.frames import Frame
from tasks.serving.moves import moved
from tasks.serving.uploads import decoded

Noise = npt.NDArray[np.float32]


class Drawings:
    """The drawings of a frame. A start image that several of them name is decoded once."""

    def __init__(self, model: Model, frame: Frame) -> None:
        self._model = model
        self._frame = frame
        self._starts: dict[int, npt.NDArray[np.uint8]] = {}

    def all(self) -> list[Drawing]:
        """Return one drawing per image. Raises InputFault, ModelFault."""
        return [self._drawing(values) for values in self._frame.header["drawings"]]

    def _drawing(self, values: dict[str, Any]) -> Drawing:
        """Return the drawing of the values that flows/serving/drawing.py makes. Integers name binary parts."""
        noise, weights = self._noise(values), self._weights(values)
        if "directions" in values:
            own = self._of_seed(values["seed"]) if noise is None else noise
            known = None if weights is None else np.array([weights], np.float32)
            shifted, mixed = moved(own[None], known, values["directions"])
            noise, weights = shifted[0], None if mixed is None else tuple(mixed[0].tolist())
        start, mask = values.get("start"), values.get("mask")
        return Drawing(
            seed=values["seed"],
            weights=weights,
            noise=noise,
            start=None if start is None else self._start(start),
            strength=values.get("strength", 1.0),
            mask=None if mask is None else self._mask(mask),
        )

    def _noise(self, values: dict[str, Any]) -> Noise | None:
        """Return given noise, or noise between points; None for the seed's own."""
        if "noise" in values:
            return self._given(values["noise"])
        if "walk" not in values:
            return None
        points = [
            self._of_seed(point["seed"]) if "seed" in point else self._given(point["noise"])
            for point in values["walk"]["points"]
        ]
        return walk(points, values["walk"]["shares"])

    def _weights(self, values: dict[str, Any]) -> tuple[float, ...] | None:
        if "weights" in values:
            return tuple(values["weights"])
        return one_hot(values["label"], len(self._model.classes))

    def _of_seed(self, seed: int) -> Noise:
        found: Noise = self._model.network.noise(torch.tensor([seed]))[0].numpy()
        return found

    def _given(self, blob: int) -> Noise:
        noise = np.frombuffer(self._frame.blobs[blob], "<f4").astype(np.float32)
        return noise.reshape(self._model.network.noise_shape)

    def _start(self, blob: int) -> npt.NDArray[np.uint8]:
        if blob not in self._starts:
            rule = self._frame.header["decoding"]
            self._starts[blob] = decoded(self._frame.blobs[blob], self._model.shape, rule, "start")
        return self._starts[blob]

    def _mask(self, blob: int) -> npt.NDArray[np.bool_]:
        _, height, width = self._model.shape
        return np.frombuffer(self._frame.blobs[blob], np.uint8).reshape(height, width).astype(np.bool_)
