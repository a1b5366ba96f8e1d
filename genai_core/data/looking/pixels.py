"""What the pixels of a sample say: colour, transparency, deviation, sizes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.facts import Indices, Pixels

# Compression colours grey photographs a little.
_GREY_DIFFERENCE = 8.0
_TRANSPARENT_SHARE = 0.01  # of an image's pixels
_LEAST_CONTRAST = 32.0  # between an image's mean brightness (0 to 255) and its background, to be seen well
_FEW_LOST = 0.05  # share of the transparent images
_RATIOS = (0.5, 9 / 16, 2 / 3, 3 / 4, 4 / 5, 1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2.0)


@dataclass(frozen=True)
class Deviation:
    """pixel_std: of all pixels in -1..1. mean_spread: standard deviation of the images' means in -1..1."""

    pixel_std: float
    mean_spread: float


def is_coloured(images: Pixels) -> npt.NDArray[np.bool_]:
    """Whether each image (N, 3, H, W) has colours: on average, its channels differ by more than compression does."""
    channels = images.astype(np.int16)
    apart: npt.NDArray[np.bool_] = (channels.max(axis=1) - channels.min(axis=1)).mean(axis=(1, 2)) > _GREY_DIFFERENCE
    return apart


def opacity(on_black: Pixels, on_white: Pixels) -> npt.NDArray[np.float64]:
    """Return how opaque each pixel is, (N, H, W) in 0..1, from the same images (N, 3, H, W) on black and on white."""
    difference = on_white.astype(np.float64) - on_black
    opaque: npt.NDArray[np.float64] = 1 - np.clip(difference, 0, 255).mean(axis=1) / 255
    return opaque


def is_transparent(opaque: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each image (N, H, W) has more than a few transparent pixels."""
    share: npt.NDArray[np.bool_] = (opaque < 0.5).mean(axis=(1, 2)) > _TRANSPARENT_SHARE
    return share


def visible_background(on_black: Pixels, opaque: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    """Return the background of transparent images (N, 3, H, W) on black: white, as on a page, or black.

    Black is for images that are hardly seen on white, such as white icons: if they are more than a few, and more than
    those that are hardly seen on black.
    """
    weights = np.where(opaque > 0.5, opaque, 0.0)
    brightness = (on_black.mean(axis=1) * weights).sum(axis=(1, 2)) / np.maximum(weights.sum(axis=(1, 2)), 1e-9)
    lost_on_white = float((brightness > 255 - _LEAST_CONTRAST).mean())
    lost_on_black = float((brightness < _LEAST_CONTRAST).mean())
    return (0, 0, 0) if lost_on_white > max(_FEW_LOST, lost_on_black) else (255, 255, 255)


def deviation(images: Pixels, *, grey: bool) -> Deviation:
    """Measure the deviation of images (N, 3, H, W); grey: of their mean over the channels."""
    unit = images.astype(np.float64) / 127.5 - 1.0
    if grey:
        unit = unit.mean(axis=1, keepdims=True)
    return Deviation(float(unit.std()), float(unit.mean(axis=(1, 2, 3)).std()))


def commonest_ratio(sizes: Indices) -> tuple[float, float]:
    """Return the commonest width / height among usual ratios, and its share of the sizes (N, 2), width and height."""
    ratios = np.log(sizes[:, 0] / sizes[:, 1])
    nearest = np.abs(ratios[:, None] - np.log(_RATIOS)).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(_RATIOS))
    return _RATIOS[int(counts.argmax())], float(counts.max() / len(sizes))
