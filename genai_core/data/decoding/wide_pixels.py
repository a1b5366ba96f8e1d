"""Grey images of 32 bits per pixel (TIFF with floats or integers), whose format does not say which value is white."""

from PIL import Image

# White is the first of these that no pixel exceeds: floats from 0 to 1, 8 bits, 16 bits.
_FLOAT_WHITES, _INTEGER_WHITES = (1, 255, 65535), (255, 65535)


def from_32_bits(image: Image.Image) -> Image.Image | None:
    """Scale an image of mode I or F to mode L. None if a value is negative, not finite or above 65535."""
    import numpy as np  # rarely needed, and slow to import

    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    whites = _FLOAT_WHITES if image.mode == "F" else _INTEGER_WHITES
    white = next((white for white in whites if high <= white), None)  # NaN is in no comparison
    if white is None or not low >= 0:
        return None
    return Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))
