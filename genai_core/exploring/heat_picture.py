"""A heat map over its picture."""

import numpy as np
import numpy.typing as npt

from genai_core.exploring.attribution import Float64

# From cool to hot; its luminance rises, so that it also reads in grey and with any colour vision.
_RAMP = np.array([(20, 11, 53), (120, 28, 109), (207, 68, 70), (251, 155, 6), (252, 255, 164)], dtype=np.float64)
_PICTURE_SHARE = 0.45  # of the picture's own luminance, where the map is hottest


def over_picture(image: npt.NDArray[np.uint8], heat: Float64) -> npt.NDArray[np.uint8]:
    """Return (3, H, W) uint8: an image (C, H, W) uint8 in grey, coloured by heat (H, W) in 0..1; grey where it is 0."""
    grey = image.mean(axis=0)
    place = heat * (len(_RAMP) - 1)
    below = np.minimum(place.astype(int), len(_RAMP) - 2)
    share = (place - below)[..., None]
    colour = (_RAMP[below] * (1 - share) + _RAMP[below + 1] * share).transpose(2, 0, 1)
    cover = heat * (1 - _PICTURE_SHARE)
    mixed: npt.NDArray[np.uint8] = (grey * (1 - cover) + colour * cover).round().clip(0, 255).astype(np.uint8)
    return mixed
