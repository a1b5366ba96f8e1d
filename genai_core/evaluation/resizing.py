"""Bring images of any size and mode into one form by a stated rule, so that they can be measured together.

How images are resized changes every figure (Parmar et al. 2022, arXiv 2104.11222), so the rule is in the protocol.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from genai_core.evaluation.feature_network import FeatureNetwork
from genai_core.image_size import ImageSize

MAX_SIDE_PX = 2048

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
ResizeKind = Literal["clean", "legacy"]

_METHODS: dict[ResizeKind, str] = {
    "clean": "bicubic with antialias, each channel in float32, cut to 0..255",
    "legacy": "bilinear without antialias on TensorFlow 1's grid, float32",
}


@dataclass(frozen=True)
class ResizeRule:
    """Resize to a size, whatever the aspect ratio. is_rounded: to 8 bits, else float32 in 0..255.

    "clean" is the rule of Parmar et al. 2022. "legacy" is that of the published FID code.
    """

    kind: ResizeKind
    size: ImageSize
    is_rounded: bool

    def __str__(self) -> str:
        rounded = "rounded to 8 bits" if self.is_rounded else "not rounded"
        return f"{self.kind} to {self.size}: {_METHODS[self.kind]}, {rounded}"

    def resize(self, image: npt.NDArray[np.uint8]) -> Pixels:
        """Return an image (C, H, W) as (C, *size)."""
        resized = self._clean(image) if self.kind == "clean" else self._legacy(image)
        return np.rint(resized).astype(np.uint8) if self.is_rounded else resized

    def _clean(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        channels = [
            Image.fromarray(channel).resize((self.size.width, self.size.height), Image.Resampling.BICUBIC)
            for channel in image.astype(np.float32)  # Pillow's mode F, which rounds nothing
        ]
        return np.stack([np.asarray(channel) for channel in channels]).clip(0, 255)

    def _legacy(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        pixels = torch.from_numpy(image.astype(np.float32))[None]
        resized = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=tuple(self.size), align_corners=False)
        return np.asarray(resized[0].numpy())


def resize_rule(size: str | None, kind: ResizeKind | None, extractor: FeatureNetwork) -> ResizeRule | None:
    """Return the rule for the options --size (H or HxW) and --resize; None without both.

    Without a size, images are resized straight to what the extractor takes; without a kind, by "clean". They are
    rounded to 8 bits unless the extractor takes them as they are. Raises ValueError.
    """
    if size is None and kind is None:
        return None
    own = extractor.float_size or extractor.image_size
    wanted = own if size is None else parsed_size(size)
    if wanted is None:
        raise ValueError("--resize: this extractor takes images of any size; pass --size H or HxW as well")
    if extractor.image_size not in (None, wanted):
        raise ValueError(
            f"--size {size}: the extractor takes images of {extractor.image_size}; omit --size, or use --extractor "
            "inception"
        )
    return ResizeRule(kind or "clean", wanted, is_rounded=wanted != extractor.float_size)


def parsed_size(text: str) -> ImageSize:
    """Parse H or HxW. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    size = ImageSize(int(match[1]), int(match[2] or match[1])) if match else ImageSize(0, 0)
    if not all(1 <= side <= MAX_SIDE_PX for side in size):
        raise ValueError(f"--size {text}: expected H or HxW (height x width), each from 1 to {MAX_SIDE_PX} pixels")
    return size


@dataclass
class ImageForm:
    """The form that images of one set are brought into, and what that took.

    resize: None: images keep their size. channels: 1 or 3, as the extractor takes them, or None for either. size: as
    the extractor takes them, or None for any. background: colour below transparent pixels; None: these are refused.
    """

    resize: ResizeRule | None = None
    channels: int | None = None
    size: ImageSize | None = None
    background: tuple[int, int, int] | None = None
    has_grey: bool = field(default=False, init=False)
    has_colour: bool = field(default=False, init=False)
    has_transparent: bool = field(default=False, init=False)

    def apply(self, image: npt.NDArray[np.uint8], name: str) -> Pixels:
        """Return an image (C, H, W), C 1 or 3, in this form. name: for errors.

        Raises ValueError for another size than the extractor's, and for colour that would have to become grey.
        """
        self.has_grey |= len(image) == 1
        self.has_colour |= len(image) == 3
        if self.channels == 1 and len(image) == 3:
            raise ValueError(f"{name}: has colour, but the extractor takes grey images; use --extractor inception")
        resized = image if self.resize is None else self.resize.resize(image)
        if self.size is not None and resized.shape[1:] != self.size:
            raise ValueError(
                f"{name} is {resized.shape[1]} x {resized.shape[2]} (height x width), and the extractor takes "
                f"{self.size}; pass --resize clean, or use --extractor inception"
            )
        return repeated(resized) if self.channels == 3 else resized

    def apply_all(self, images: npt.NDArray[np.uint8], name: str) -> Pixels:
        """Return images (N, C, H, W) in this form."""
        return stacked([self.apply(image, name) for image in images])


def repeated(image: Pixels) -> Pixels:
    """Return an image (C, H, W), C 1 or 3, with three channels: grey is shown in all of them."""
    return image.repeat(3, axis=0) if len(image) == 1 else image


def stacked(images: Sequence[Pixels]) -> Pixels:
    """Return images of one size as (N, C, H, W). If some have colour, grey ones get three channels."""
    if len({len(image) for image in images}) > 1:
        images = [repeated(image) for image in images]
    return cast(Pixels, np.stack(images))


def form_protocol(forms: Sequence[ImageForm]) -> dict[str, Any]:
    """Return what the forms of the sets add to the protocol: only what was done to an image of any of them."""
    if not forms:
        return {}
    resize, background = forms[0].resize, forms[0].background
    mixes = any(form.has_grey for form in forms) and any(form.has_colour or form.channels == 3 for form in forms)
    return {
        **({"images_resize": str(resize)} if resize is not None else {}),
        **({"grey": "shown in three channels"} if mixes else {}),
        **({"background": list(background)} if background and any(form.has_transparent for form in forms) else {}),
    }
