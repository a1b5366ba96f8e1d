"""Rotate, shift, scale or shear an image, without holes or dark seams at the edge."""

import math
from collections.abc import Sequence

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

# A border is plain when at least half of it is within this many levels of its median colour.
PLAIN_LEVELS = 8


def warp(
    image: torch.Tensor,
    *,
    angle_degrees: float = 0.0,
    shift_px: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear_degrees: tuple[float, float] = (0.0, 0.0),
) -> torch.Tensor:
    """Transform an image (C, H, W) uint8 about its centre -> same shape and type; shifts go to the right and down.

    A plain background (digits, cut-out objects) is extended with its colour. A picture that fills its frame is mirrored
    at the edge, because a model would learn to draw a strip of one colour.
    """
    ring = torch.cat([image[:, 0], image[:, -1], image[:, 1:-1, 0], image[:, 1:-1, -1]], dim=1).to(torch.int16)
    colour = ring.median(dim=1, keepdim=True).values
    is_plain = ((ring - colour).abs() <= PLAIN_LEVELS).all(dim=0).float().mean() >= 0.5
    # Pad before warping: affine's own fill mixes in black and darkens the seam.
    sides = (image.shape[-1], image.shape[-2])
    reach = _reach(max(sides), angle_degrees, shift_px, scale, shear_degrees)
    # One extra pixel for bilinear interpolation.
    margins = [max(0, math.ceil(reach - side / 2) + 1) for side in sides]  # to the left and right, above and below
    fill = colour.flatten().float().tolist()
    if is_plain:
        image = functional.pad_image(image, margins, fill=fill, padding_mode="constant")
    else:
        # Mirroring adds at most the image's own width and height; large shifts and rotations need more.
        mirrored = [min(margin, side - 1) for margin, side in zip(margins, sides, strict=True)]
        rest = [margin - added for margin, added in zip(margins, mirrored, strict=True)]
        image = functional.pad_image(image, mirrored, padding_mode="reflect")
        image = functional.pad_image(image, rest, padding_mode="edge")
    moved: torch.Tensor = functional.affine_image(
        image,
        angle=angle_degrees,
        translate=list(shift_px),
        scale=scale,
        shear=list(shear_degrees),
        interpolation=InterpolationMode.BILINEAR,
        fill=fill,
    )
    left, top = margins
    return moved[:, top : moved.shape[1] - top, left : moved.shape[2] - left]


def _reach(
    longer: int, angle_degrees: float, shift_px: Sequence[float], scale: float, shear_degrees: Sequence[float]
) -> float:
    """Return how many pixels from the centre the transform can bring into view; longer: of the image's sides."""
    angle = math.radians(angle_degrees)
    turn = abs(math.cos(angle)) + abs(math.sin(angle))
    slant = 1 + sum(math.tan(math.radians(abs(degrees))) for degrees in shear_degrees)
    return slant * turn * (longer / 2 + max(map(abs, shift_px))) / scale
