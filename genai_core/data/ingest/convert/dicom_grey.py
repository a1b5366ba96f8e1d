"""Grey values of DICOM as a viewer shows them (PS3.3, C.11.1 and C.11.2): rescaled, then through the window, to 8 bits.

Without a window, 8-bit values stay as they are; of others, the lowest and highest in the file become black and white.
MONOCHROME1 is inverted, because its lowest value is white.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.facts import Pixels

GREY = ("MONOCHROME1", "MONOCHROME2")

Values = npt.NDArray[np.float64]


class GreyScale:
    """Turns the values of a frame into shown pixels. dataset: of pydicom; count: its frames."""

    def __init__(self, pydicom: Any, dataset: Any, count: int) -> None:
        self._pydicom = pydicom
        self._dataset = dataset
        self._count = count
        self._limits: tuple[float, float] | None = None

    def shown(self, values: Any, number: int) -> Pixels:
        """Return pixels (H, W) uint8 of frame `number`; values: (H, W) as stored."""
        rescaled = self._rescaled(values, number)
        grey = self._through_window(rescaled, number)
        if grey is None:
            grey = self._between_limits(rescaled)
        if self._dataset.PhotometricInterpretation == "MONOCHROME1":
            grey = 1 - grey
        pixels: Pixels = np.round(grey * 255).astype(np.uint8)
        return pixels

    def _rescaled(self, values: Any, number: int) -> Values:
        if "ModalityLUTSequence" in self._dataset:
            return np.asarray(self._pydicom.pixels.apply_modality_lut(values, self._dataset), dtype=np.float64)
        slope = self._of_frame(number, "PixelValueTransformationSequence", "RescaleSlope")
        intercept = self._of_frame(number, "PixelValueTransformationSequence", "RescaleIntercept")
        return np.asarray(values, dtype=np.float64) * float(_first(slope, 1)) + float(_first(intercept, 0))

    def _through_window(self, values: Values, number: int) -> Values | None:
        """Return values from 0 to 1 by the first window or table of the file; None without one."""
        centre = _first(self._of_frame(number, "FrameVOILUTSequence", "WindowCenter"), None)
        width = _first(self._of_frame(number, "FrameVOILUTSequence", "WindowWidth"), None)
        if centre is not None and width is not None:
            function = self._of_frame(number, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
            return _windowed(values, float(centre), float(width), str(function))
        if "VOILUTSequence" in self._dataset:
            table = self._pydicom.pixels.apply_voi(values.astype(np.int64), self._dataset)
            bits = int(self._dataset.VOILUTSequence[0].LUTDescriptor[2])
            grey: Values = np.clip(np.asarray(table, dtype=np.float64) / (2**bits - 1), 0, 1)
            return grey
        return None

    def _between_limits(self, values: Values) -> Values:
        if self._limits is None:
            self._limits = self._find_limits()
        low, high = self._limits
        return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)

    def _find_limits(self) -> tuple[float, float]:
        if int(self._dataset.BitsStored) <= 8 and not int(self._dataset.get("PixelRepresentation", 0)):
            return 0.0, float(2 ** int(self._dataset.BitsStored) - 1)
        low, high = np.inf, -np.inf
        padding = self._dataset.get("PixelPaddingValue")  # outside the picture
        for number in range(self._count):
            [values] = self._pydicom.pixels.iter_pixels(self._dataset, indices=[number])
            inside = values if padding is None else values[values != padding]
            if inside.size:
                rescaled = self._rescaled(inside, number)
                low, high = min(low, float(rescaled.min())), max(high, float(rescaled.max()))
        return low, high

    def _of_frame(self, number: int, sequence: str, keyword: str) -> Any:
        """Return a value that stands in the file itself or, for many frames, in the groups of one frame or of all."""
        if keyword in self._dataset:
            return self._dataset.get(keyword)
        per_frame = self._dataset.get("PerFrameFunctionalGroupsSequence") or []
        for group in (*per_frame[number : number + 1], *(self._dataset.get("SharedFunctionalGroupsSequence") or [])):
            if group.get(sequence) and keyword in group[sequence][0]:
                return group[sequence][0].get(keyword)
        return None


def _windowed(values: Values, centre: float, width: float, function: str) -> Values:
    """Map values to 0 ... 1 by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / max(width, 1e-9), -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / max(width, 1e-9) + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _first(value: Any, default: Any) -> Any:
    """Return a value, the first of several, or the default without one."""
    if value is None or value == "":
        return default
    return value[0] if isinstance(value, (list, tuple)) or hasattr(value, "__getitem__") else value
