"""A picture in a request: pixels that the server drew, or an uploaded file, decoded as the training images were."""

import numpy as np

from genai_core.data.decoding.image import Decoded, DecodeRule, decode_file, without_pillows_limit
from genai_core.exploring.attribution import Pixels
from genai_core.image_size import ImageSize
from genai_core.serving.frames import Frame
from tasks.serving.errors import InputFault


def picture(frame: Frame) -> Pixels:
    """Return the frame's first binary part as an image (C, H, W) uint8.

    `picture` has its shape and `form`: "pixels", or "file" with `fit`, `background` and `max_megapixels`, the rule by
    which the stage `prepare` decodes. A training image's own file therefore gives that image's pixels. Raises
    InputFault.
    """
    values, content = frame.header["picture"], frame.blobs[0]
    channels, height, width = values["shape"]
    if values["form"] == "pixels":
        return np.frombuffer(content, np.uint8).reshape(channels, height, width)
    rule = DecodeRule(
        image_size=ImageSize(height, width),
        channels=channels,
        fit=values["fit"],
        background=tuple(values["background"]),
        max_megapixels=values["max_megapixels"],
    )
    with without_pillows_limit():  # the rule's own limit is lower
        decoded = decode_file("upload", rule, content)
    if not isinstance(decoded, Decoded):
        raise InputFault(f"image: cannot be used ({decoded.reason}): {decoded.detail}", param="image")
    return np.frombuffer(decoded.pixels, np.uint8).reshape(channels, height, width)
