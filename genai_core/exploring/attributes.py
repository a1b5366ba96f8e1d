"""Simple measured attributes of images, after which directions in a model's noise are named."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

_LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B (ITU-R BT.601)
_LEAST_INK = 0.2  # mean grey levels: below it, a picture is blank and its shape means nothing


@dataclass(frozen=True)
class Attribute:
    """Something measured of an image, and in words what more and less of it look like."""

    name: str
    less: str
    more: str


BRIGHTNESS = Attribute("brightness", "darker", "brighter")
CONTRAST = Attribute("contrast", "flatter", "more contrast")
THICKNESS = Attribute("thickness", "thinner", "thicker")
WIDTH = Attribute("width", "narrower", "wider")
HEIGHT = Attribute("height", "shorter", "taller")
SLANT = Attribute("slant", "leaning to the left", "leaning to the right")
ACROSS = Attribute("position across", "further left", "further right")
DOWN = Attribute("position down", "further up", "further down")
COLOURFULNESS = Attribute("colourfulness", "greyer", "more colourful")
WARMTH = Attribute("warmth", "bluer", "redder")


def measure(images: Pixels) -> dict[Attribute, Float64]:
    """Measure images (N, C, H, W) uint8: each attribute (N,). Colour attributes only of images with three channels.

    The shape of a picture is that of its ink: how far each pixel's luminance is from the background, the median of the
    picture's border. Width and height are standard deviations of the ink's positions, slant is the slope of their
    regression, sideways by upwards; thickness is ink divided by the total change between neighbouring pixels.
    """
    pixels = images.astype(np.float64)
    grey = pixels[:, 0] if pixels.shape[1] == 1 else np.tensordot(pixels, _LUMINANCE, axes=(1, 0))
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    ink = np.abs(grey - np.median(border, axis=1)[:, None, None])
    amount = ink.sum(axis=(1, 2))
    blank = amount < _LEAST_INK * grey[0].size
    weight = np.where(blank[:, None, None], 1.0, ink) / np.where(blank, grey[0].size, amount)[:, None, None]
    height, width = grey.shape[1:]
    down, across = np.arange(float(height))[None, :, None], np.arange(float(width))[None, None, :]

    def mean(values: Float64) -> Float64:
        found: Float64 = (weight * values).sum(axis=(1, 2))
        return found

    x, y = mean(across), mean(down)
    dx, dy = across - x[:, None, None], down - y[:, None, None]
    edges = np.abs(np.diff(grey, axis=1)).sum(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).sum(axis=(1, 2))
    measured = {
        BRIGHTNESS: grey.mean(axis=(1, 2)),
        CONTRAST: grey.std(axis=(1, 2)),
        THICKNESS: amount / np.maximum(edges, 1.0),
        WIDTH: np.sqrt(mean(dx**2)),
        HEIGHT: np.sqrt(mean(dy**2)),
        SLANT: -mean(dx * dy) / np.maximum(mean(dy**2), 1e-9),
        ACROSS: x,
        DOWN: y,
    }
    if pixels.shape[1] == 3:
        measured[COLOURFULNESS] = (pixels.max(axis=1) - pixels.min(axis=1)).mean(axis=(1, 2))
        measured[WARMTH] = (pixels[:, 0] - pixels[:, 2]).mean(axis=(1, 2))
    return measured
