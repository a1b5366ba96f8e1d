"""An image turned, shifted, scaled or sheared, without a hole or a dark seam where something comes in at the edge."""

import math
from collections.abc import Sequence

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

# A border is plain when half of it or more is this near (in levels) to its middle colour.
PLAIN_LEVELS = 8


def warp(
    image: torch.Tensor,
    *,
    angle_degrees: float = 0.0,
    shift_px: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear_degrees: tuple[float, float] = (0.0, 0.0),
) -> torch.Tensor:
    """image (C, H, W) uint8 -> the same shape and type, moved about its middle; shifts go to the right and down.

    A digit or a cut-out object on a plain ground gets more of that ground; a picture that fills its frame is mirrored
    at its edge, where a strip of one colour would be something to learn.
    """
    ring = torch.cat([image[:, 0], image[:, -1], image[:, 1:-1, 0], image[:, 1:-1, -1]], dim=1).to(torch.int16)
    colour = ring.median(dim=1, keepdim=True).values
    is_plain = ((ring - colour).abs() <= PLAIN_LEVELS).all(dim=0).float().mean() >= 0.5
    # With pixels beyond the edge to draw from; affine's own fill darkens the seam, as it mixes in black there.
    margin = _margin(image.shape[-1], angle_degrees, shift_px, scale, shear_degrees)
    fill = colour.flatten().float().tolist()
    if is_plain:
        image = functional.pad_image(image, [margin], fill=fill, padding_mode="constant")
    else:
        # Mirroring cannot give more than the image has; strong changes need more.
        mirrored = min(margin, image.shape[-1] - 1)
        image = functional.pad_image(image, [mirrored], padding_mode="reflect")
        image = functional.pad_image(image, [margin - mirrored], padding_mode="edge")
    moved: torch.Tensor = functional.affine_image(
        image,
        angle=angle_degrees,
        translate=list(shift_px),
        scale=scale,
        shear=list(shear_degrees),
        interpolation=InterpolationMode.BILINEAR,
        fill=fill,
    )
    return moved[:, margin : moved.shape[1] - margin, margin : moved.shape[2] - margin]


def _margin(
    size: int, angle_degrees: float, shift_px: Sequence[float], scale: float, shear_degrees: Sequence[float]
) -> int:
    """Pixels beyond the edge that a change can bring into view."""
    angle = math.radians(angle_degrees)
    turn = abs(math.cos(angle)) + abs(math.sin(angle))
    slant = 1 + sum(math.tan(math.radians(abs(degrees))) for degrees in shear_degrees)
    reach = slant * turn * (size / 2 + max(map(abs, shift_px))) / scale
    # One more, for bilinear interpolation.
    return max(0, math.ceil(reach - size / 2) + 1)
