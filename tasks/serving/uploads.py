"""A picture in a request: pixels that the server drew, or an uploaded file, decoded as the training images were."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genai_core.data.decoding.image import Decoded, DecodeRule, decode_file, without_pillows_limit
from genai_core.exploring.attribution import Pixels
from genai_core.image_size import ImageSize
from genai_core.serving.frames import Frame
from tasks.serving.errors import InputFault

_pillows_limit = threading.Lock()  # a setting of the whole process


def picture(frame: Frame) -> Pixels:
    """Return the frame's first binary part as an image (C, H, W) uint8.

    `picture` has its shape and `form`: "pixels", or "file" with the rule of `decoded`. Raises InputFault.
    """
    values, content = frame.header["picture"], frame.blobs[0]
    if values["form"] == "pixels":
        return np.frombuffer(content, np.uint8).reshape(values["shape"])
    return decoded(content, values["shape"], values, "image")


def decoded(content: bytes, shape: Sequence[int], rule: Mapping[str, Any], param: str) -> Pixels:
    """Return a file as an image of a shape (C, H, W), uint8.

    rule: `fit`, `background` and `max_megapixels`, by which the stage `prepare` decodes. A training image's own file
    therefore gives that image's pixels. Raises InputFault for the field `param`.
    """
    channels, height, width = shape
    chosen = DecodeRule(
        image_size=ImageSize(height, width),
        channels=channels,
        fit=rule["fit"],
        background=tuple(rule["background"]),
        max_megapixels=rule["max_megapixels"],
    )
    with _pillows_limit, without_pillows_limit():  # the rule's own limit is lower
        found = decode_file("upload", chosen, content)
    if not isinstance(found, Decoded):
        raise InputFault(f"{param}: cannot be used ({found.reason}): {found.detail}", param=param)
    return np.frombuffer(found.pixels, np.uint8).reshape(channels, height, width).copy()  # torch wants it writable
